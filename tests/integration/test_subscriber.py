"""`gateway.client.subscribe` against real gateways, while what lies between is cut, drained, killed and slow."""

from __future__ import annotations

import asyncio
import functools
import random
import time

import aiohttp
import jwt
import pytest
from integration.helping import Pair, over, post, publishing
from proxy import Proxy
from servers import GatewayProcess, until
from streams import assert_clean

from gateway.client import Gap, NotAuthenticated, State, Subscription, subscribe

SECRET = "a-secret-of-the-tests-that-is-long-enough"
KEY = "a-key-of-the-tests"
SLACK = 30.0
QUICK = {"GATEWAY_RETRY_MS": "100"}


def at(proxy: Proxy) -> str:
    return f"http://127.0.0.1:{proxy.port}"


async def take(events: Subscription, got: list[int], *, until_last: int | None = None) -> None:
    """Numbers, as they come; a gap is none."""
    async for event in events:
        got.append(event.json())
        if event.json() == until_last:
            return


def longer(got: list[int], than: int) -> bool:
    return len(got) > than


@pytest.mark.slow
async def test_nothing_is_lost_however_often_the_connection_is_cut() -> None:
    """At random moments, in the middle of events too: each number once, in order."""
    async with GatewayProcess(QUICK, "--dev") as gateway, Proxy(gateway.port) as proxy:
        got: list[int] = []
        async with asyncio.timeout(SLACK), subscribe(at(proxy), user="alice") as events:
            reading = asyncio.create_task(take(events, got))
            async with publishing(gateway.url, per_second=300) as published:
                for _ in range(25):
                    await until(functools.partial(longer, got, len(got) + 5))
                    await asyncio.sleep(random.uniform(0, 0.02))
                    proxy.cut()
            await until(lambda: got[-1:] == published.acknowledged[-1:])
            reading.cancel()
        assert_clean(got, published.acknowledged)
        assert proxy.accepted > 20


@pytest.mark.slow
async def test_a_rolling_restart(pair: Pair) -> None:
    """One process drains, the other is killed: the subscriber goes from one to the other with its cursor."""
    at_first, then = pair
    async with Proxy(at_first.port) as proxy:
        got: list[int] = []
        states: list[State] = []
        async with asyncio.timeout(SLACK), subscribe(at(proxy), user="alice", on_state=states.append) as events:
            reading = asyncio.create_task(take(events, got))
            async with publishing(then.url) as published:
                await until(lambda: len(got) > 20)
                proxy.target = then.port
                at_first.terminate()
                await at_first.wait()
                await until(lambda: [state.name for state in states].count("open") == 2)
            await until(lambda: got[-1:] == published.acknowledged[-1:])
            then.kill()
            await until(lambda: states[-1].reason.startswith(("cannot connect", "the connection")))
            reading.cancel()
        assert_clean(got, published.acknowledged)


async def test_a_network_that_swallows_everything() -> None:
    """No heartbeat comes, so the connection is taken for dead, and what was missed comes over the next one."""
    async with GatewayProcess({"GATEWAY_HEARTBEAT_INTERVAL": "0.3"}, "--dev") as gateway, Proxy(gateway.port) as proxy:
        states: list[State] = []
        async with subscribe(at(proxy), user="alice", silence=1.0, on_state=states.append) as events:
            proxy.black_hole()
            await post(gateway.url, "/v1/users/alice/events", {"event_type": "number", "data": 1})
            got: list[int] = []
            reading = asyncio.create_task(take(events, got, until_last=1))
            await until(lambda: states[-1].name != "open")
            await proxy.pass_on()
            async with asyncio.timeout(SLACK):
                await reading
        assert got == [1]
        assert states[2].reason == "nothing came for 1 s, not even a heartbeat"


async def test_a_slow_program_gets_everything(redis_url: str, prefix: str) -> None:
    """It does not read for a while; what is more than sockets hold is served from the history when it does."""
    settings = over(redis_url, prefix, GATEWAY_MAX_BUFFER_BYTES="131072", GATEWAY_RETENTION_MAX_EVENTS="5000")
    async with GatewayProcess(settings, "--dev") as gateway:
        async with asyncio.timeout(SLACK), subscribe(gateway.url, user="alice") as events:
            batch = [{"event_type": "x", "data": [number, "x" * 2000]} for number in range(2000)]
            for at_once in range(0, 2000, 500):
                await post(gateway.url, "/v1/users/alice/events", batch[at_once : at_once + 500])
            got = [(await anext(events)).json()[0] for _ in range(2000)]
        assert_clean(got, range(2000))


@pytest.mark.slow
async def test_tokens_that_end_are_renewed(redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a function for tokens a stream outlives them, without a refusal; with a string it ends in an error."""
    monkeypatch.setattr("gateway.client.subscriber.subscription.RENEWED_WITHIN", (0.1, 0.15))

    def signed(seconds: float) -> str:
        return jwt.encode({"sub": "alice", "exp": time.time() + seconds}, SECRET, algorithm="HS256")

    asked = 0

    async def token() -> str:
        nonlocal asked
        asked += 1
        return signed(6)

    settings = over(redis_url, prefix, GATEWAY_JWT_SECRET=SECRET, GATEWAY_PUBLISH_KEYS=KEY) | QUICK
    headers = {"Authorization": f"Bearer {KEY}"}
    async with GatewayProcess(settings) as gateway:
        states: list[State] = []
        async with asyncio.timeout(SLACK), subscribe(gateway.url, token, on_state=states.append) as events:
            for number in range(25):
                path, body = "/v1/users/alice/events", {"event_type": "number", "data": number}
                await post(gateway.url, path, body, headers)
                assert (await anext(events)).json() == number
                await asyncio.sleep(0.1)
        assert asked >= 3
        assert "waiting" not in {state.name for state in states}
        async with asyncio.timeout(SLACK), subscribe(gateway.url, signed(1)) as events:
            with pytest.raises(NotAuthenticated, match="expired"):
                await anext(events)


async def test_a_gap_and_all_that_is_kept() -> None:
    """A cursor that was never given: told first, as a thing of its own."""
    async with GatewayProcess({}, "--dev") as gateway:
        await post(gateway.url, "/v1/users/alice/events", {"event_type": "number", "data": 1})
        async with asyncio.timeout(SLACK), subscribe(gateway.url, user="alice", last_event_id="nonsense") as events:
            gap, event = await anext(events), await anext(events)
            assert isinstance(gap, Gap)
            assert gap.requested == "nonsense"
            assert event.json() == 1
            kept = events.last_event_id
        await post(gateway.url, "/v1/users/alice/events", {"event_type": "number", "data": 2})
        async with asyncio.timeout(SLACK), subscribe(gateway.url, user="alice", last_event_id=kept) as events:
            assert (await anext(events)).json() == 2


async def test_topics_and_types() -> None:
    """Only what was asked for comes."""
    async with GatewayProcess({}, "--dev") as gateway:
        wanted = subscribe(gateway.url, user="alice", topics=["orders.eu"], types=["order.*"])
        async with asyncio.timeout(SLACK), wanted as events:
            for path in ("/v1/topics/orders.us/events", "/v1/topics/orders.eu/events", "/v1/broadcast"):
                for kind in ("other", "order.paid"):
                    await post(gateway.url, path, {"event_type": kind, "data": path})
            assert [(await anext(events)).json() for _ in range(2)] == ["/v1/topics/orders.eu/events", "/v1/broadcast"]


async def test_a_user_who_is_sent_away() -> None:
    """For a time, which ends the iteration."""
    async with (
        GatewayProcess(QUICK, "--dev") as gateway,
        aiohttp.ClientSession(gateway.url) as http,
        asyncio.timeout(SLACK),
        subscribe(gateway.url, user="alice") as events,
    ):
        async with http.delete("/v1/users/alice/connections?for=60") as response:
            assert response.status == 202
        assert [event async for event in events] == []
