"""What others write into the gateway's Redis, by mistake or not: it is passed over, and what is right goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from servers import until
from streams import Stream
from structlog.testing import capture_logs
from web.inprocess import SECRET, Served, bearer, claims, closed_because, served, token

from gateway.auth import tickets
from gateway.config import PublishKey

CANARY = "canary-of-a-payload"


@pytest_asyncio.fixture
async def gateway(redis_url: str, prefix: str) -> AsyncIterator[Served]:
    async with served(broker_url=redis_url, channel_prefix=prefix) as running:
        await until(lambda: running.gateway.relay.health() is None and running.gateway.registry.health() is None)
        yield running


@pytest_asyncio.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url) as client:
        yield client


async def test_in_the_journal(gateway: Served, redis: Redis, prefix: str) -> None:
    """A process whose link was lost reads the journal: entries that name no channel do not keep it from healing."""
    async with Stream(gateway.url, "user=alice") as stream:
        await stream.position()
        heals = gateway.gateway.relay.healing.heals
        foreign: list[dict[Any, Any]] = [{"x": "y"}, {"c": b"\xff\xfe"}, {"c": "user:a b"}, {"c": "x" * 100_000}]
        for fields in foreign:
            await redis.xadd(f"{prefix}:journal", fields)
        await redis.client_kill_filter(_type="pubsub")
        await until(lambda: gateway.gateway.relay.healing.heals > heals)
        await until(lambda: gateway.gateway.relay.health() is None)
        id = await gateway.publish("alice")
        assert (await stream.next()).last_event_id == id
        assert stream.types == ["x"]


async def test_in_a_history(gateway: Served, redis: Redis, prefix: str) -> None:
    """Entries that are no events are counted, named now and then, and not quoted; the others are replayed."""
    await gateway.publish("alice", "first")
    history = f"{prefix}:history:user:alice"
    bad: list[dict[Any, Any]] = [
        {"e": f'{{"event_type":"x","data":"{CANARY}'.encode() + b'\xff"}', "p": "0-0"},
        {"e": f"{CANARY}".encode(), "p": CANARY},
        {CANARY: CANARY},
        {"e": f'{{"event_type":"gateway.gap","data":"{CANARY}"}}', "p": "0-0"},
        {"p": b"\xff" + CANARY.encode(), "e": '{"event_type":"x","data":1}'},
        {"e": f'{{"event_type":"{CANARY}\\n","data":1}}', "p": "0-0"},
    ]
    for number in range(60):
        await redis.xadd(history, bad[number % len(bad)])
    await gateway.publish("alice", "last")
    with capture_logs() as lines:
        for _ in range(5):
            async with Stream(gateway.url, "user=alice&last_event_id=earliest") as stream:
                await stream.next_of("last")
                assert [type for type in stream.types if type != "gateway.gap"] == ["first", "last"]
    skipped = [line for line in lines if line["event"] == "broker.foreign_entry_skipped"]
    assert 1 <= len(skipped) <= 10
    assert CANARY not in str(lines)
    assert gateway.gateway.relay.broker.stats.garbage == 5 * 60


async def test_among_the_revocations(gateway: Served, redis: Redis, prefix: str) -> None:
    """What is none is passed over, and the one after it ends the user's streams."""
    async with Stream(gateway.url, "user=alice") as stream, Stream(gateway.url, "user=bob") as other:
        foreign: list[dict[Any, Any]] = [{"x": "y"}, {"u": b"\xff"}, {"u": "bob", "f": "soon"}, {"f": "1"}]
        for fields in foreign:
            await redis.xadd(f"{prefix}:revocations", fields)
        async with gateway.http.delete("/v1/users/alice/connections") as response:
            assert response.status == 202
        await stream.end(within=5)
        assert closed_because(gateway, "revoked") == 1
        assert gateway.gateway.registry.health() is None
        await gateway.publish("bob")
        await other.next()


async def test_in_the_place_of_what_is_known_of_a_user(gateway: Served, redis: Redis, prefix: str) -> None:
    """A key of another type, or fields that are none of ours: this user is let in like all others."""
    await redis.set(f"{prefix}:registry:alice", CANARY)
    await redis.hset(f"{prefix}:registry:bob", mapping={"away": "for ever", "t:": "x", CANARY: "-1", b"\xff": b"\xff"})
    async with Stream(gateway.url, "user=carol"), Stream(gateway.url, "user=bob"), Stream(gateway.url, "user=alice"):
        for user in ("alice", "bob", "carol"):
            async with gateway.http.get(f"/v1/users/{user}/presence") as response:
                assert await response.json() == {"online": True, "connections": 1}
        assert gateway.gateway.registry.health() is None


@pytest.mark.parametrize("kept", [b"", b"\xff", b"[]", b'["bob", ["*"], "soon"]', b'["a b", [], null]', b"[" * 50_000])
async def test_in_the_place_of_a_ticket(redis_url: str, redis: Redis, prefix: str, kept: bytes) -> None:
    """It is no ticket."""
    keys = (PublishKey("all", "key"),)
    async with served(broker_url=redis_url, channel_prefix=prefix, jwt_secret=SECRET, publish_keys=keys) as gateway:
        async with gateway.http.post("/v1/tickets", headers=bearer(token(claims()))) as response:
            ticket = (await response.json())["ticket"]
        await redis.set(f"{prefix}:ticket:{tickets.digest(ticket)}", kept)
        async with gateway.http.get("/v1/events", params={"ticket": ticket}) as response:
            assert response.status == 401


async def test_an_id_from_the_future(gateway: Served, redis: Redis, prefix: str) -> None:
    """An announcement with a forged id holds events back for some seconds, and loses none."""
    async with Stream(gateway.url, "user=alice") as stream:
        await stream.position()
        forged = '{"id":"9999999999999999-0","previous":"0-0","event_type":"forged","data":1}'
        assert await redis.publish(f"{prefix}:user:alice", forged) == 1
        await stream.next()
        ids = [await gateway.publish("alice", "number", number) for number in range(5)]
        await until(lambda: stream.data("number") == list(range(5)), what="the events arrive")
        assert stream.last_event_id == ids[-1]
        assert stream.types[:2] == ["forged", "gateway.gap"]
