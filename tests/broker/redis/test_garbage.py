"""What others say on the channels: events by hand, and nonsense."""

from __future__ import annotations

import pytest
from broker.listening import publish
from broker.redis.processes import (
    ALICE,
    running,
)
from redis.asyncio import Redis
from servers import until
from structlog.typing import EventDict

GARBAGE = {
    "not JSON": b"hello",
    "bad UTF-8": b"\xff\xfe",
    "a nesting bomb": b"[" * 500_000,
    "a nesting bomb as data": b'{"id":"5-0","previous":"4-0","event_type":"x","data":%b}'
    % (b"[" * 200_000 + b"]" * 200_000),
    "huge": b"x" * 20_000_000,
    "a forged id": b'{"id":"5-0\\n","previous":"4-0","event_type":"x","data":1}',
    "a forged previous": b'{"id":"5-0","previous":"","event_type":"x","data":1,"more":1}',
    "an event type with line ends": b'{"id":"5-0","previous":"4-0","event_type":"x\\n\\ndata: 1","data":1}',
    "an event type of ours": b'{"event_type":"gateway.gap","data":1}',
    "an event type of ours, forged": b'{"id":"5-0","previous":"4-0","event_type":"gateway.gap","data":1}',
}


@pytest.mark.parametrize("payload", GARBAGE.values(), ids=GARBAGE.keys())
async def test_garbage(redis_url: str, prefix: str, payload: bytes, logs: list[EventDict]) -> None:
    """What is not an event is counted, logged and passed over; what comes after it is heard."""
    async with Redis.from_url(redis_url) as redis, running(redis_url, prefix) as (broker, heard):
        await broker.subscribe(ALICE)
        assert await redis.publish(f"{prefix}:{ALICE}", payload) == 1
        await publish(broker, ALICE, 1)
        await heard.hears(1)
        assert broker.stats.garbage == 1
        assert heard.said == ["restored"]
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == ["broker.garbage_skipped"]


async def test_garbage_without_end(redis_url: str, prefix: str, logs: list[EventDict]) -> None:
    """A flood of garbage is counted in full and logged a few times."""
    async with Redis.from_url(redis_url) as redis, running(redis_url, prefix) as (broker, heard):
        await broker.subscribe(ALICE)
        async with redis.pipeline(transaction=False) as pipeline:
            for _ in range(3_000):
                pipeline.publish(f"{prefix}:{ALICE}", b"\x00")
            await pipeline.execute()
        await publish(broker, ALICE, 1)
        await heard.hears(1)
        assert broker.stats.garbage == 3_000
    assert 1 <= len([line for line in logs if line["event"] == "broker.garbage_skipped"]) < 50


async def test_garbage_as_a_probe(redis_url: str, prefix: str) -> None:
    """Nonsense on the probe's own channel is no watermark."""
    async with Redis.from_url(redis_url) as redis, running(redis_url, prefix) as (broker, heard):
        (name,) = await redis.pubsub_channels(f"{prefix}:probe:*")
        for payload in (b"", b"\xff", b"1-1-1", b"9" * 40, b"1-1 x 1.0", b"1-1 1 x", b"1-1-1 1 1.0", b"1-1 1 1.0 1"):
            assert await redis.publish(name, payload) == 1
        await until(lambda: broker.stats.garbage == 8)
        await until(lambda: heard.marks)
        assert set(heard.marks) == {await broker.tip()}


async def test_published_by_hand(redis_url: str, prefix: str) -> None:
    """A raw PUBLISH is delivered live, without an id, and not kept."""
    async with Redis.from_url(redis_url) as redis, running(redis_url, prefix) as (broker, heard):
        await broker.subscribe(ALICE)
        tip = await broker.tip()
        assert await redis.publish(f"{prefix}:{ALICE}", '{"event_type": "x.y", "data": {"a": 1}, "id": "mine"}') == 1
        await heard.hears('{"a":1}')
        assert (heard.entries[0].id, heard.entries[0].previous, heard.entries[0].event_type) == (None, None, "x.y")
        assert await broker.tip() == tip
        assert (await broker.read([ALICE], tip, 10)).entries == []
