"""Who gets in: so many streams of one address, so many newcomers a second, and who is asked what first."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import Any

import pytest
from servers import until
from streams import Stream
from structlog.testing import capture_logs
from web.inprocess import SECRET, Served, bearer, claims, refusal, refused_because, served, token

from gateway.config import PublishKey
from gateway.telemetry.sparing import Sparing
from gateway.web import refusal as refusing

KEYS = (PublishKey("all", "key-for-all"),)
BEHIND_A_PROXY: dict[str, Any] = {"trusted_proxies": (ip_network("127.0.0.0/8"),), "max_connections_per_user": 0}
NO_MORE = 0.0001
"""A rate at which nothing comes again within a test."""


def came_from(address: str) -> dict[str, str]:
    return {"X-Forwarded-For": address}


async def asked(served: Served, address: str = "192.0.2.1", *, user: str = "alice", **headers: str) -> int:
    """The status that a client gets that is no EventSource; a stream is left at once."""
    query, sent = f"/v1/events?user={user}", came_from(address) | headers
    async with served.http.get(query, headers=sent) as response:
        return response.status


@asynccontextmanager
async def streams_of(served: Served, *addresses: str) -> AsyncIterator[list[Stream]]:
    """A stream of each address, opened at once."""
    opened = [Stream(served.url, f"user=u{n}", headers=came_from(a)) for n, a in enumerate(addresses)]
    await asyncio.gather(*(stream.open() for stream in opened))
    try:
        yield opened
    finally:
        await asyncio.gather(*(stream.close() for stream in opened))


async def test_one_address_has_so_many_streams() -> None:
    """An EventSource is told to come back, others get a 503; other addresses, and places that were left, are free."""
    async with served(**BEHIND_A_PROXY, max_connections_per_address=2) as gateway:
        async with streams_of(gateway, "192.0.2.1", "192.0.2.1", "192.0.2.2") as (first, *_):
            async with Stream(gateway.url, "user=x", headers=came_from("192.0.2.1")) as refused:
                await refused.end()
                assert refused.retry is not None
                assert refused.events == []
            status, problem = await refusal(gateway, "user=x", **came_from("192.0.2.1"))
            assert (status, problem["type"]) == (503, "urn:event-gateway:problem:at-capacity")
            assert "GATEWAY_MAX_CONNECTIONS_PER_ADDRESS" in problem["detail"]
            assert refused_because(gateway, "max_connections_per_address") == 2
            assert await asked(gateway, "192.0.2.2") == 200
            await first.close()
            await until(lambda: gateway.gateway.newcomers.streams["192.0.2.1"] == 1)
            assert await asked(gateway, "192.0.2.1") == 200
        await until(lambda: not gateway.gateway.newcomers.streams, what="nothing is kept of who has left")


async def test_an_address_is_a_whole_site_of_ipv6() -> None:
    """A client has all of its /64, and chooses among 2^64 addresses; the next site is somebody else's."""
    settings = BEHIND_A_PROXY | {"max_connections_per_address": 1}
    async with served(**settings) as gateway, streams_of(gateway, "2001:db8:0:1::1"):
        assert await asked(gateway, "2001:db8:0:1:ffff::2") == 503
        assert await asked(gateway, "2001:db8:0:2::1") == 200
        assert await asked(gateway, "192.0.2.1") == 200


async def test_the_limit_of_an_address_is_exact_for_streams_that_come_at_once() -> None:
    """Of fifty connects in one moment ten are let in, and nobody is counted who was not."""
    async with served(**BEHIND_A_PROXY, max_connections_per_address=10) as gateway:
        async with streams_of(gateway, *["192.0.2.1"] * 50) as streams:
            await until(lambda: sum(stream.ended_at is not None for stream in streams) == 40)
            assert len(gateway.gateway.hub.connections) == 10
            assert gateway.gateway.newcomers.streams == Counter({"192.0.2.1": 10})
        await until(lambda: not gateway.gateway.newcomers.streams)


async def test_whoever_is_refused_later_on_gives_its_place_back() -> None:
    """A bad token, a bad query, a topic that is not the user's, a full house: none of them holds a place."""
    settings = BEHIND_A_PROXY | {"max_connections_per_address": 1, "max_connections_per_user": 1}
    async with served(**settings, jwt_secret=SECRET, publish_keys=KEYS) as gateway:
        good = bearer(token(claims()))
        ways = [("", bearer("no.token.this"), 401), ("?types=%20", good, 400), ("?topic=secret", good, 403)]
        async with Stream(gateway.url, token=token(claims()), headers=came_from("192.0.2.9")):
            for query, headers, expected in [*ways, ("", good, 503)]:
                async with gateway.http.get("/v1/events" + query, headers=came_from("192.0.2.1") | headers) as response:
                    assert response.status == expected
            assert gateway.gateway.newcomers.streams == Counter({"192.0.2.9": 1})
        assert refused_because(gateway, "invalid_request") == 1
        assert refused_because(gateway, "not_allowed") == 1
        assert refused_because(gateway, "max_connections_per_user") == 1


async def test_a_long_poll_has_a_place_for_as_long_as_it_lasts() -> None:
    """As a stream has; and gives it back."""
    async with served(**BEHIND_A_PROXY, max_connections_per_address=1) as gateway:
        for _ in range(2):
            query, sent = "/v1/events?user=alice&wait=0", came_from("192.0.2.1") | {"Accept": "application/json"}
            async with gateway.http.get(query, headers=sent) as response:
                assert response.status == 200
        async with streams_of(gateway, "192.0.2.1"), gateway.http.get(query, headers=sent) as response:
            assert response.status == 503


async def test_newcomers_of_one_address_are_slowed_down() -> None:
    """Exactly so many in one moment; what is refused takes nothing from the others."""
    settings = {"connect_rate_per_address": NO_MORE, "connect_burst_per_address": 5}
    async with served(**BEHIND_A_PROXY, **settings, connect_rate=NO_MORE, connect_burst=12) as gateway:
        flood = Counter(await asyncio.gather(*(asked(gateway, user=f"u{n}") for n in range(30))))
        assert flood == {200: 5, 503: 25}
        assert refused_because(gateway, "connect_rate_per_address") == 25
        others = [await asked(gateway, f"192.0.2.{n}") for n in range(2, 10)]
        assert others == [200] * 7 + [503]
        assert refused_because(gateway, "connect_rate") == 1


async def test_a_flood_is_refused_before_tokens_are_looked_at() -> None:
    """What is cheap comes first: who comes too fast is not told about its token, and nobody has verified it."""
    settings = {"connect_rate": NO_MORE, "connect_burst": 1}
    async with served(jwt_secret=SECRET, publish_keys=KEYS, **settings) as gateway:
        assert await asked(gateway, **bearer("no.token.this")) == 401
        assert await asked(gateway, **bearer("no.token.this")) == 503
        async with Stream(gateway.url, token="no.token.this") as refused:
            await refused.end()
            assert refused.retry is not None


async def test_tickets_are_asked_for_as_fast_as_streams() -> None:
    """Getting one is a step to a stream, and costs a token that is verified: it counts, and is a 429 beyond."""
    settings = BEHIND_A_PROXY | {"connect_rate_per_address": NO_MORE, "connect_burst_per_address": 2}
    async with served(**settings, jwt_secret=SECRET, publish_keys=KEYS) as gateway:
        headers = came_from("192.0.2.1") | bearer(token(claims()))
        for expected in (201, 201, 429):
            async with gateway.http.post("/v1/tickets", headers=headers) as response:
                assert response.status == expected
        assert int(response.headers["Retry-After"]) > 1
        assert await asked(gateway, **headers) == 503


async def test_refusals_are_logged_sparingly(monkeypatch: pytest.MonkeyPatch) -> None:
    """With why, and from where; the metric has them all."""
    monkeypatch.setattr(refusing, "_sparing", Sparing())
    async with served(**BEHIND_A_PROXY, connect_rate=NO_MORE, connect_burst=1) as gateway:
        with capture_logs() as lines:
            await asyncio.gather(*(asked(gateway, f"192.0.2.{n}") for n in range(200)))
        refused = [line for line in lines if line["event"] == "stream.refused"]
        assert refused_because(gateway, "connect_rate") == 199
        assert 5 <= len(refused) <= 50
        assert refused[0]["reason"] == "connect_rate"
        assert refused[0]["client"].startswith("192.0.2.")
