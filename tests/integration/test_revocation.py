"""Sending a user away, and one-time tickets, over processes of their own: also one that was cut off from Redis."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
from integration.helping import Pair, over
from proxy import Proxy
from servers import GatewayProcess, RedisServer, until
from streams import Stream
from web.inprocess import SECRET, bearer, claims, token

KEY = "the-key-of-these-tests"
TOLD_WITHIN, CUT_OFF_TOLD_WITHIN = 2.0, 5.0
"""What docs/users.md promises."""


def production(redis_url: str, prefix: str, **more: str) -> dict[str, str]:
    return over(redis_url, prefix, GATEWAY_JWT_SECRET=SECRET, GATEWAY_PUBLISH_KEYS=KEY) | more


@asynccontextmanager
async def gateways(one: dict[str, str], two: dict[str, str]) -> AsyncIterator[Pair]:
    pair = Pair(GatewayProcess(one), GatewayProcess(two))
    async with AsyncExitStack() as stack:
        await asyncio.gather(*map(stack.enter_async_context, pair))
        yield pair


def listening(gateway: GatewayProcess, user: str = "alice") -> Stream:
    return Stream(gateway.url, token=token(claims(user, seconds=600)))


async def send_away(gateway: GatewayProcess, query: str = "") -> dict[str, Any]:
    path = f"{gateway.url}/v1/users/alice/connections{query}"
    async with aiohttp.ClientSession() as http, http.delete(path, headers=bearer(KEY)) as response:
        assert response.status == 202, await response.text()
        answer: dict[str, Any] = await response.json()
        return answer


async def status(gateway: GatewayProcess) -> int:
    sent = bearer(token(claims()))
    async with aiohttp.ClientSession(gateway.url) as http, http.get("/v1/events", headers=sent) as response:
        return response.status


async def test_every_process_ends_the_users_streams(redis_url: str, prefix: str) -> None:
    """Asked on one, they end on both within two seconds, and with `for` neither lets the user in again."""
    settings = production(redis_url, prefix)
    async with gateways(settings, settings) as (one, two), listening(two, "bob") as other:
        streams = [await listening(gateway).open() for gateway in (one, two, two)]
        answer = await send_away(one, "?for=600")
        for stream in streams:
            await stream.end(within=TOLD_WITHIN)
            assert not stream.cut
            await stream.close()
        assert answer == {"connections": 3}
        assert [await status(gateway) for gateway in (one, two)] == [204, 204]
        assert other.ended_at is None
        assert '"reason":"revoked"' in two.log.replace(" ", "")


async def test_every_worker_ends_the_users_streams(redis_url: str, prefix: str) -> None:
    """The processes that share a port are processes like others."""
    async with GatewayProcess(production(redis_url, prefix, GATEWAY_WORKERS="2")) as gateway:
        streams = [await listening(gateway).open() for _ in range(8)]
        await send_away(gateway)
        for stream in streams:
            await stream.end(within=TOLD_WITHIN)
            await stream.close()


async def test_a_process_that_was_cut_off_learns_of_it(redis_server: RedisServer, prefix: str) -> None:
    """Its network swallows everything while the user is sent away: within five seconds after, those streams end too, as
    do those that it let in meanwhile."""
    async with Proxy(redis_server.port) as proxy:
        settings = production(redis_server.url, prefix), production(proxy.url, prefix)
        async with gateways(*settings) as (one, two), listening(two) as before, listening(two, "bob") as other:
            await before.position()
            proxy.black_hole()
            await until(lambda: "registry.alone" in two.log, what="the process notices")
            await send_away(one, "?for=600")
            async with listening(two) as meanwhile:
                assert before.ended_at is None  # it cannot know
                await proxy.refuse()
                await proxy.pass_on()
                for stream in (before, meanwhile):
                    await stream.end(within=CUT_OFF_TOLD_WITHIN)
            assert await status(two) == 204
            assert other.ended_at is None


async def test_a_process_that_stood_still_learns_of_it(redis_url: str, prefix: str) -> None:
    """One that was stopped when it happened ends them as soon as it runs again."""
    settings = production(redis_url, prefix)
    async with gateways(settings, settings) as (one, two), listening(two) as stream:
        await stream.position()
        two.send_signal(signal.SIGSTOP)
        try:
            await send_away(one)
        finally:
            two.send_signal(signal.SIGCONT)
        await stream.end(within=CUT_OFF_TOLD_WITHIN)


async def test_a_ticket_is_for_one_stream_on_all_processes(redis_url: str, prefix: str) -> None:
    """Of forty who show the same ticket on two processes at once, one is let in."""
    settings = production(redis_url, prefix)

    async def shown(gateway: GatewayProcess, http: aiohttp.ClientSession, ticket: str) -> int:
        async with http.get(f"{gateway.url}/v1/events", params={"ticket": ticket}) as response:
            return response.status

    async with gateways(settings, settings) as pair, aiohttp.ClientSession() as http:
        for _ in range(3):
            async with http.post(f"{pair.one.url}/v1/tickets", headers=bearer(token(claims()))) as response:
                ticket = (await response.json())["ticket"]
            statuses = await asyncio.gather(*(shown(gateway, http, ticket) for gateway in pair for _ in range(20)))
            assert sorted(statuses) == [200] + [401] * 39
