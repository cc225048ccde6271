"""The link against a real server that is killed, stopped, cut off or deaf."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from broker.listening import publish
from broker.redis.processes import (
    ALICE,
    BOB,
    NOTICED_WITHIN,
    LoopWatch,
    channels_of,
    gateway_tasks,
    idle,
    reasons,
    restored,
    running,
)
from proxy import Proxy
from redis.asyncio import Redis
from servers import RedisServer, until
from structlog.typing import EventDict

from gateway.broker.redis import link
from gateway.errors import BrokerUnavailable

LAG_AT_MOST = 1.0
"""A loop that spins or blocks stands still for as long as the fault lasts; a noisy machine does not take this."""


# The server goes, and comes back


async def test_killed_and_restarted(redis_server: RedisServer) -> None:
    """The loss is told; when the server is back all channels are, with those asked for meanwhile."""
    async with running(redis_server.url) as (broker, heard), idle(redis_server.url) as other:
        for channel in (ALICE, "user:left"):
            await broker.subscribe(channel)
        redis_server.kill()
        await until(lambda: heard.losses, within=NOTICED_WITHIN)
        await until(broker.health)
        assert broker.link.subscriptions() == frozenset()
        meanwhile = asyncio.create_task(broker.subscribe(BOB))
        broker.unsubscribe("user:left")
        with pytest.raises(BrokerUnavailable):
            await publish(broker, ALICE, "no")
        assert not meanwhile.done()
        await redis_server.start()
        await restored(heard, 2)
        await meanwhile
        assert broker.health() is None
        await publish(other, ALICE, 1)
        await publish(other, "user:left", "no")
        await publish(other, BOB, 2)
        await heard.hears(1, 2)
        assert (heard.said[:2], heard.said[-1], heard.restored) == (["restored", "lost"], "restored", 2)


async def test_not_there_at_the_start() -> None:
    """A broker that is started before its server waits for it, and says why it is not ready."""
    server = RedisServer()
    try:
        async with running(server.url, up=False) as (broker, heard):
            await until(lambda: "cannot connect" in (broker.health() or ""))
            subscribing = asyncio.create_task(broker.subscribe(ALICE))
            await server.start()
            await subscribing
            await restored(heard, 1)
            assert broker.health() is None
            await publish(broker, ALICE, 1)
            await heard.hears(1)
    finally:
        server.close()


async def test_cut_again_and_again(redis_server: RedisServer) -> None:
    """CLIENT KILL of all pub/sub clients: told each time, and each time everything is subscribed again."""
    wanted = {f"user:{n}" for n in range(50)}
    async with Redis.from_url(redis_server.url) as redis, running(redis_server.url) as (broker, heard):
        await asyncio.gather(*map(broker.subscribe, wanted))
        for times in range(1, 6):
            assert await redis.client_kill_filter(_type="pubsub") == 1
            await restored(heard, times + 1)
            assert broker.link.subscriptions() == wanted == await channels_of(redis)
        assert heard.said == ["restored"] + ["lost", "restored"] * 5
        assert broker.stats.reconnects == 5
        await publish(broker, "user:7", 1)
        await heard.hears(1)


async def test_while_the_server_loads(redis_server: RedisServer) -> None:
    """A server that is there but still loading its data is waited for; nothing said to it then is lost."""
    async with Redis.from_url(redis_server.url) as redis:
        await redis.config_set("save", "3600 1")
        async with redis.pipeline(transaction=False) as pipeline:
            for n in range(10_000):
                pipeline.set(f"key:{n}", "x" * 100)
            await pipeline.execute()
    slow = RedisServer(appendonly="yes", key_load_delay=300, loading_process_events_interval_bytes=1024)
    slow.take_over(redis_server)
    try:
        async with running(slow.url, up=False) as (broker, heard):
            slow.spawn()
            subscribing = asyncio.create_task(broker.subscribe(ALICE))
            await until(lambda: "LOADING" in (broker.health() or ""), within=20)
            await restored(heard, 1)
            await subscribing
            await publish(broker, ALICE, 1)
            await heard.hears(1)
            assert broker.health() is None
    finally:
        slow.close()


# The server is there, and does not answer


async def test_stopped(redis_server: RedisServer, logs: list[EventDict]) -> None:
    """A stopped server is noticed in time, the event loop goes on, and so does the link when the server does."""
    async with running(redis_server.url) as (broker, heard), LoopWatch() as loop:
        await broker.subscribe(ALICE)
        redis_server.pause()
        await until(lambda: heard.losses, within=NOTICED_WITHIN)
        await until(broker.health)
        with pytest.raises(BrokerUnavailable):
            await broker.tip()
        redis_server.resume()
        await restored(heard, 2)
        await publish(broker, ALICE, 1)
        await heard.hears(1)
        assert loop.worst < LAG_AT_MOST
    assert "nothing heard" in reasons(logs)[0]


async def test_a_black_hole(redis_server: RedisServer, logs: list[EventDict]) -> None:
    """A network that swallows everything is noticed in time, and recovered from when it is over."""
    async with Proxy(redis_server.port) as proxy, running(proxy.url) as (broker, heard), LoopWatch() as loop:
        await broker.subscribe(ALICE)
        tasks = gateway_tasks()
        proxy.black_hole()
        await until(lambda: heard.losses, within=NOTICED_WITHIN)
        await until(lambda: "cannot connect" in (broker.health() or ""), what="a new connection was tried")
        subscribing = asyncio.create_task(broker.subscribe(BOB))
        await proxy.pass_on()
        await restored(heard, 2)
        await subscribing
        async with idle(redis_server.url) as other:
            await publish(other, ALICE, 1)
            await publish(other, BOB, 2)
        await heard.hears(1, 2)
        assert loop.worst < LAG_AT_MOST
        await until(lambda: gateway_tasks() <= tasks, what="no task is left of what was tried")
    assert "nothing heard" in reasons(logs)[0]


async def test_idle_connections_that_were_reset_are_not_used(redis_server: RedisServer) -> None:
    """After a loss the first publish goes over a new connection, instead of failing on an old one."""
    async with Proxy(redis_server.port) as proxy, running(proxy.url) as (broker, heard):
        await broker.subscribe(ALICE)
        await publish(broker, ALICE, 1)
        await heard.hears(1)
        proxy.cut()
        await restored(heard, 2)
        await publish(broker, ALICE, 2)
        await heard.hears(1, 2)


async def test_answers_and_does_not_deliver(redis_server: RedisServer, logs: list[EventDict]) -> None:
    """A server that answers every PING, while what is published elsewhere does not arrive, is found out."""
    async with RedisServer() as detached:
        ports = {"link": redis_server.port}

        def route(first: bytes) -> int:
            return ports["link"] if b"event-gateway" in first else redis_server.port

        async with Proxy(redis_server.port, route=route) as proxy, running(proxy.url) as (broker, heard):
            await broker.subscribe(ALICE)
            await publish(broker, ALICE, 1)
            await heard.hears(1)
            ports["link"] = detached.port
            proxy.cut()
            await restored(heard, 2)
            async with idle(redis_server.url) as other:
                await publish(other, ALICE, "not heard")
            await until(lambda: len(reasons(logs)) == 2, within=NOTICED_WITHIN)
            ports["link"] = redis_server.port
            await restored(heard, 3)
            await publish(broker, ALICE, 2)
            await heard.hears(1, 2)
    assert "a probe was not delivered" in reasons(logs)[1]


async def test_too_slow_for_the_server(logs: list[EventDict]) -> None:
    """A server that drops a subscriber for reading too slowly is noticed, though the connection had been fine."""
    async with (
        RedisServer(client_output_buffer_limit="pubsub 1mb 1mb 0") as server,
        Redis.from_url(server.url) as redis,
        Proxy(server.port) as proxy,
        running(proxy.url) as (broker, heard),
        idle(server.url) as other,
    ):
        await broker.subscribe(ALICE)
        proxy.hold()
        sent = 0

        async def dropped() -> bool:
            nonlocal sent
            await publish(other, ALICE, *["x" * 200_000] * 5)
            sent += 5
            return "event-gateway" not in {client["name"] for client in await redis.client_list()}

        await until(dropped)
        await proxy.pass_on()
        await until(lambda: heard.losses, within=NOTICED_WITHIN)
        await restored(heard, 2)
        assert len(heard.entries) < sent
        await publish(other, ALICE, 1)
        await until(lambda: heard.data()[-1:] == [b"1"])


async def test_this_process_stood_still(redis_server: RedisServer) -> None:
    """After a long pause of its own the process does not blame the server."""
    async with running(redis_server.url) as (broker, heard):
        await broker.subscribe(ALICE)
        time.sleep(link.SILENCE_LIMIT + 0.3)  # noqa: ASYNC251 - what is tried here
        marks = len(heard.marks)
        await until(lambda: len(heard.marks) > marks + 1, what="probes come back")
        assert heard.said == ["restored"]


async def test_an_owner_that_ended_is_told(redis_server: RedisServer) -> None:
    """It ends only when it is closed; should it all the same, then this process is deaf for good, and says so."""
    async with running(redis_server.url) as (broker, _):
        assert broker.failed() is None
        (owner,) = [task for task in asyncio.all_tasks() if task.get_name() == "redis-link"]
        owner.cancel()
        await asyncio.wait({owner})
        assert broker.failed() == broker.health() == "the link's task has ended"


# The end


@pytest.mark.parametrize("state", ["up", "refused", "stopped", "swallowed", "starting"])
async def test_closed_in_any_state(redis_server: RedisServer, state: str) -> None:
    """Closing takes no time, whatever the network does, and leaves no task behind; twice is once."""
    async with Proxy(redis_server.port) as proxy, running(proxy.url, up=state != "starting") as (broker, _):
        subscribing = [asyncio.create_task(broker.subscribe(ALICE))]
        if state != "starting":
            await subscribing[0]
        if state == "refused":
            await proxy.refuse()
            await until(broker.health)
        elif state == "stopped":
            redis_server.pause()
        elif state == "swallowed":
            proxy.black_hole()
        if state != "up":
            subscribing.append(asyncio.create_task(broker.subscribe(BOB)))
            await asyncio.sleep(0)
        async with asyncio.timeout(2):
            await broker.close()
        await asyncio.wait(subscribing, timeout=2)
        assert gateway_tasks() == 1, f"besides this test: {asyncio.all_tasks()}"
        assert broker.health()
        await broker.close()
        if state == "stopped":
            redis_server.resume()


async def test_nothing_is_left_on_the_server(redis_server: RedisServer) -> None:
    """After close the server has no connection and no channel of the process."""
    async with Redis.from_url(redis_server.url) as redis:
        alone: list[Any] = await redis.client_list()
        async with running(redis_server.url) as (broker, _):
            await asyncio.gather(*(broker.subscribe(f"user:{n}") for n in range(10)))
            await asyncio.gather(*(broker.tip() for _ in range(40)))
            assert len(await redis.client_list()) > len(alone)

        async def gone() -> bool:
            return len(await redis.client_list()) == len(alone) and not await redis.pubsub_channels()

        await until(gone)
