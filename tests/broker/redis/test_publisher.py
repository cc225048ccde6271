"""Publishing and reading against a real server that refuses, stops, forgets, or answers into the void."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import pytest
from broker.listening import ids, publication, publish
from broker.redis.processes import ALICE, BOB, PREFIX, idle, running
from proxy import Proxy
from redis.asyncio import Redis
from servers import HOST, RedisServer, free_port, until

from gateway.broker.base import Receipt
from gateway.broker.redis import publisher
from gateway.broker.redis.bounds import Bounds
from gateway.errors import BrokerUnavailable, Overloaded
from gateway.ids import START, EventId

TIMEOUT = 0.5
SLACK = 2.0


async def kept(redis: Redis, channel: str) -> list[EventId]:
    rows: Any = await redis.xrange(f"{PREFIX}:history:{channel}")
    return [EventId.parse(id.decode()) for id, _ in rows]


async def evalsha_calls(redis: Redis) -> int:
    stats: Any = await redis.info("commandstats")
    return int(stats.get("cmdstat_evalsha", {"calls": 0})["calls"])


def receipts_of(answers: list[Any]) -> list[Receipt]:
    return [answer[0] for answer in answers if not isinstance(answer, BaseException)]


# No answer


async def test_refused() -> None:
    """Where nobody listens, publishing and reading fail at once."""
    async with idle(f"redis://{HOST}:{free_port()}") as broker:
        before = time.monotonic()
        for call in (publish(broker, ALICE, 1), broker.tip(), broker.read([ALICE], START, 1), broker.touched(START, 1)):
            with pytest.raises(BrokerUnavailable):
                await call
        assert time.monotonic() - before < SLACK


async def test_stopped(redis_server: RedisServer) -> None:
    """A stopped server costs each call its timeout, all at the same time; afterwards all is as before."""
    async with Redis.from_url(redis_server.url) as redis, idle(redis_server.url, timeout=TIMEOUT) as broker:
        (first,) = await publish(broker, ALICE, "before")
        redis_server.pause()
        before = time.monotonic()
        answers = await asyncio.gather(
            *(publish(broker, ALICE, "lost?") for _ in range(20)),
            *(broker.tip() for _ in range(publisher.EVENTS_PER_CALL // 8)),
            return_exceptions=True,
        )
        assert time.monotonic() - before < TIMEOUT + SLACK
        assert {type(answer) for answer in answers} == {BrokerUnavailable}
        redis_server.resume()
        (last,) = await publish(broker, ALICE, "after")
        found = await kept(redis, ALICE)
        assert (found[0], found[-1]) == (first, last)


async def test_everyone_gets_his_own_answer(redis_server: RedisServer) -> None:
    """After a stop amid many calls no answer goes to another's question."""
    dice = random.Random(3)
    async with Redis.from_url(redis_server.url) as redis, idle(redis_server.url, timeout=TIMEOUT) as broker:
        for _ in range(3):
            calls: list[asyncio.Task[Any]] = []
            for n in range(60):
                calls.append(asyncio.create_task(publish(broker, f"user:{n % 7}", "?")))
                calls.append(asyncio.create_task(broker.read([f"user:{n % 7}"], START, 5)))
                if n == 20:
                    await asyncio.sleep(0)
                    redis_server.pause()
                if n % 10 == 9:
                    await asyncio.sleep(0)
                    dice.choice(calls).cancel()
            await asyncio.wait(calls)
            redis_server.resume()
            await asyncio.gather(*calls, return_exceptions=True)
            names = [f"user:{n}" for n in range(40)]
            answers = await asyncio.gather(*(publish(broker, name, name) for name in names))
            pages = await asyncio.gather(*(broker.read([name], START, 1000) for name in names))
            for name, (id,), page in zip(names, answers, pages, strict=True):
                assert (await kept(redis, name))[-1] == id
                assert {entry.channel for entry in page.entries} == {name}
                assert (page.entries[-1].id, page.entries[-1].data) == (id, f'"{name}"'.encode())


async def test_callers_who_give_up(redis_server: RedisServer) -> None:
    """Cancelled reads and publishes leave connections that answer the next one right."""
    async with idle(redis_server.url) as broker:
        given = {name: (await publish(broker, name, name))[0] for name in (f"user:{n}" for n in range(10))}
        for turns in range(12):
            calls: list[asyncio.Task[Any]] = [
                asyncio.create_task(broker.read([name], START, 10), name=name) for name in given
            ]
            calls.append(asyncio.create_task(publish(broker, BOB, turns)))
            for _ in range(turns):
                await asyncio.sleep(0)
            for call in calls[turns % 2 :: 2]:
                call.cancel()
            await asyncio.wait(calls)
            pages = await asyncio.gather(*(broker.read([name], START, 10) for name in given))
            assert [page.entries[-1].id for page in pages] == list(given.values())


async def test_one_gives_up_the_others_do_not(redis_server: RedisServer) -> None:
    """Who gives up takes no one along, though they share a call."""
    async with Redis.from_url(redis_server.url) as redis, idle(redis_server.url) as broker:
        calls = [asyncio.create_task(publish(broker, ALICE, n)) for n in range(20)]
        await asyncio.sleep(0)
        for call in calls[::2]:
            call.cancel()
        answers = await asyncio.gather(*calls[1::2])
        found = await kept(redis, ALICE)
        assert {id for (id,) in answers} <= set(found)


async def test_a_connection_that_was_cut(redis_server: RedisServer) -> None:
    """Idle connections that the server closed cost nobody an event."""
    async with Redis.from_url(redis_server.url) as redis, idle(redis_server.url) as broker:
        await asyncio.gather(*(broker.tip() for _ in range(10)), publish(broker, ALICE, 0))
        for n in range(1, 6):
            await redis.client_kill_filter(_type="normal", skipme=True)
            await redis.ping()  # by its answer the loop has seen the others' end
            await publish(broker, ALICE, n)
        await redis_server.stop()
        await redis_server.start()
        await publish(broker, ALICE, 6)
        assert len((await broker.read([ALICE], START, 100)).entries) == 7


async def test_a_lost_answer(redis_server: RedisServer) -> None:
    """When only the answer is lost the caller does not know; with the same key he may ask again: it is one event."""
    async with (
        Redis.from_url(redis_server.url) as redis,
        Proxy(redis_server.port) as proxy,
        idle(proxy.url, timeout=TIMEOUT) as broker,
    ):
        await publish(broker, BOB, 0)
        for n in range(10):
            item = publication(ALICE, n, key=f"key-{n}")
            proxy.lose_reply(to=f"dedupe:{ALICE}:key-{n}".encode())
            with pytest.raises(BrokerUnavailable):
                await broker.publish([item])
            assert proxy.lost_replies == n + 1
            again = await broker.publish([item])
            assert ids(again) == [(await kept(redis, ALICE))[n]]
        assert len(await kept(redis, ALICE)) == 10


async def test_a_slow_network(redis_server: RedisServer) -> None:
    """A network that is slow, but not too slow, delays and loses nothing."""
    async with Proxy(redis_server.port) as proxy, running(proxy.url) as (broker, heard):
        await broker.subscribe(ALICE)
        proxy.latency = 0.1
        await asyncio.gather(*(publish(broker, ALICE, n) for n in range(50)))
        await heard.hears(*range(50))
        assert heard.said == ["restored"]


# The server forgets, or has no room


async def test_scripts_forgotten(redis_server: RedisServer) -> None:
    """After SCRIPT FLUSH, and after a restart, the scripts are sent again without anybody noticing."""
    async with Redis.from_url(redis_server.url) as redis, running(redis_server.url) as (broker, heard):
        await broker.subscribe(ALICE)
        for n in range(3):
            await redis.script_flush()
            answers = await asyncio.gather(broker.tip(), *(publish(broker, ALICE, n) for _ in range(3)))
            assert len(answers) == 4
        await until(lambda: len(heard.entries) == 9)
        await redis.script_flush()
        marks = len(heard.marks)
        await until(lambda: len(heard.marks) > marks + 1, what="probes go on")


async def test_no_memory(redis_server: RedisServer) -> None:
    """A server without room takes nothing of a list, says so, and takes it all when there is room."""
    async with Redis.from_url(redis_server.url) as redis, idle(redis_server.url) as broker:
        (first,) = await publish(broker, ALICE, 0)
        await redis.config_set("maxmemory", 1)
        with pytest.raises(BrokerUnavailable, match="maxmemory"):
            await broker.publish([publication(ALICE, 1), publication(BOB, 1, key="k")])
        assert await kept(redis, ALICE) == [first]
        assert await redis.xlen(f"{PREFIX}:journal") == 1
        await redis.config_set("maxmemory", 0)
        given = ids(await broker.publish([publication(ALICE, 1), publication(BOB, 1, key="k")]))
        assert await kept(redis, ALICE) + await kept(redis, BOB) == [first, *given]


async def test_acknowledged_is_kept(redis_server: RedisServer) -> None:
    """Whatever was acknowledged before the server was killed is in the history afterwards, in order."""
    async with idle(redis_server.url, timeout=TIMEOUT) as broker:
        given: list[EventId] = []

        async def keep_publishing() -> None:
            while True:
                given.extend(await publish(broker, ALICE, *range(3)))

        publishing = [asyncio.create_task(keep_publishing()) for _ in range(10)]
        await until(lambda: len(given) > 300)
        redis_server.kill()
        failures = await asyncio.gather(*publishing, return_exceptions=True)
        assert {type(failure) for failure in failures} == {BrokerUnavailable}
        await redis_server.start()
        async with Redis.from_url(redis_server.url) as redis:
            found = await kept(redis, ALICE)
        assert set(given) <= set(found)
        assert len(found) % 3 == 0
        assert (await publish(broker, ALICE, 1))[0] > found[-1]


# Many at once


async def test_many_share_a_call(redis_server: RedisServer) -> None:
    """Two thousand publishes at once are a few script calls; one alone is one."""
    async with Redis.from_url(redis_server.url) as redis, idle(redis_server.url, timeout=5) as broker:
        await publish(broker, ALICE, 0)
        before = await evalsha_calls(redis)
        await publish(broker, ALICE, 0)
        assert await evalsha_calls(redis) == before + 1
        await asyncio.gather(*(publish(broker, f"user:{n % 50}", n) for n in range(2_000)))
        assert await evalsha_calls(redis) - before - 1 <= 2_000 / publisher.EVENTS_PER_CALL + 2


async def test_a_long_list_is_one_call(redis_server: RedisServer) -> None:
    """A list is never split, however long: nothing comes between its events."""
    async with Redis.from_url(redis_server.url) as redis, idle(redis_server.url, timeout=5) as broker:
        size = publisher.EVENTS_PER_CALL * 4 + 1
        lists = await asyncio.gather(*(publish(broker, name, *range(size)) for name in (ALICE, BOB)))
        both = sorted(id for given in lists for id in given)
        assert both in (lists[0] + lists[1], lists[1] + lists[0])
        assert len(await kept(redis, ALICE)) >= 1000


async def test_large_events_make_small_pages(redis_server: RedisServer) -> None:
    """A page of large events ends long before its number of entries would fill the memory."""
    async with idle(redis_server.url, timeout=5) as broker:
        for _ in range(30):
            await publish(broker, ALICE, "x" * 60_000)
        page = await broker.read([ALICE], START, 1000)
        assert 1 <= len(page.entries) < 30
        assert page.upto == page.entries[-1].id != page.tip


async def test_no_more_than_so_many_wait(redis_server: RedisServer) -> None:
    """Beyond a number of waiting events the next one is refused at once; the others are not forgotten."""
    bounds, size = Bounds(waiting_events=2_000), 200
    async with (
        Redis.from_url(redis_server.url) as redis,
        idle(redis_server.url, timeout=TIMEOUT, bounds=bounds) as broker,
    ):
        await publish(broker, ALICE, 0)
        redis_server.pause()
        calls = [asyncio.create_task(publish(broker, ALICE, *range(size)))]
        await asyncio.sleep(0)
        await until(lambda: not broker.stats.waiting_events, what="the first is under way")
        calls += [asyncio.create_task(publish(broker, ALICE, *range(size))) for _ in range(10)]
        await until(lambda: broker.stats.waiting_events == bounds.waiting_events, what="ten wait")
        before = time.monotonic()
        with pytest.raises(Overloaded, match="GATEWAY_MAX_WAITING_EVENTS"):
            await publish(broker, ALICE, 1)
        assert time.monotonic() - before < TIMEOUT / 2
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(answer) for answer in answers} == {BrokerUnavailable}
        redis_server.resume()
        await publish(broker, ALICE, 1)
        assert (broker.stats.waiting_events, broker.stats.waiting_bytes) == (0, 0)
        assert (await redis.xlen(f"{PREFIX}:journal") - 2) % size == 0  # what was given up was taken whole, or not


async def test_no_more_than_so_many_bytes_wait(redis_server: RedisServer) -> None:
    """Few events may be large: what they take is bounded too, and whoever waits already is served."""
    bounds, large = Bounds(waiting_bytes=10_000), "x" * 2_998
    async with idle(redis_server.url, timeout=20, bounds=bounds) as broker:
        await publish(broker, ALICE, 0)
        redis_server.pause()
        calls = [asyncio.create_task(publish(broker, ALICE, large))]
        await asyncio.sleep(0)
        await until(lambda: not broker.stats.waiting_events, what="the first is under way")
        calls += [asyncio.create_task(publish(broker, ALICE, large)) for _ in range(3)]
        await until(lambda: broker.stats.waiting_bytes == 9_000, what="three wait")
        with pytest.raises(Overloaded, match="GATEWAY_MAX_WAITING_BYTES"):
            await publish(broker, ALICE, large)
        calls.append(asyncio.create_task(publish(broker, ALICE, "x" * 900)))
        redis_server.resume()
        assert len(await asyncio.gather(*calls)) == 5
        assert (broker.stats.waiting_events, broker.stats.waiting_bytes) == (0, 0)


async def test_closed_while_they_wait(redis_server: RedisServer) -> None:
    """Whoever waits when the broker is closed is told within the timeout."""
    async with idle(redis_server.url, timeout=TIMEOUT) as broker:
        await publish(broker, ALICE, 0)
        redis_server.pause()
        calls = [asyncio.create_task(publish(broker, ALICE, *range(200))) for _ in range(3)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await broker.close()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(answer) for answer in answers} == {BrokerUnavailable}
        redis_server.resume()
