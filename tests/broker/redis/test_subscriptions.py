"""What is wanted, what the server holds, and what it allows."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from broker.listening import publication, publish
from broker.redis.processes import ALICE, BOB, NOTICED_WITHIN, PREFIX, channels_of, idle, reasons, restored, running
from proxy import Proxy
from redis.asyncio import Redis
from servers import RedisServer, until
from structlog.typing import EventDict

from gateway.broker.base import BrokerStats
from gateway.broker.redis import link
from gateway.broker.redis.link import Link
from gateway.broker.redis.routes import route
from gateway.channels import Keys


@pytest.mark.parametrize("cut", [False, True], ids=["quiet", "while connections are cut"])
async def test_two_thousand_come_and_go(redis_server: RedisServer, cut: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """After any mix of subscribing, leaving and giving up midway, the server holds what is wanted and nothing else."""
    monkeypatch.setattr(link, "COMPARE_EVERY", 1)
    dice = random.Random(7)
    async with Redis.from_url(redis_server.url) as redis, running(redis_server.url) as (broker, heard):
        before = len(asyncio.all_tasks())
        names = [f"user:{n}" for n in range(300)]
        calls: list[asyncio.Task[None]] = []
        for step in range(2_000):
            name, what = dice.choice(names), dice.random()
            if what < 0.6:
                calls.append(asyncio.create_task(broker.subscribe(name)))
            else:
                broker.unsubscribe(name)
            if what < 0.2:
                dice.choice(calls).cancel()
            if what > 0.9:
                await asyncio.sleep(0)
            if cut and step % 400 == 399:
                seen = heard.restored
                await redis.client_kill_filter(_type="pubsub")
                if step % 800 == 799:
                    await restored(heard, seen + 1)
        await asyncio.wait(calls, timeout=0.1)  # those that still wait for the server may do so
        wanted = set(dice.sample(names, 100))
        for name in names:
            if name not in wanted:
                broker.unsubscribe(name)
        async with asyncio.timeout(20):
            await asyncio.gather(*map(broker.subscribe, wanted))
        await until(lambda: all(call.done() for call in calls))
        await asyncio.gather(*calls, return_exceptions=True)

        async def settled() -> bool:
            return broker.link.subscriptions() == wanted == await channels_of(redis)

        await until(settled)
        await until(lambda: len(asyncio.all_tasks()) == before)
        if not cut:
            marks = len(heard.marks)
            await until(lambda: len(heard.marks) >= marks + 3, what="the server was asked for its count")
            assert heard.said == ["restored"]


async def test_flapping_on_a_slow_network(redis_server: RedisServer) -> None:
    """An answer to an earlier command is not taken for the answer to a later one about the same channel."""
    async with (
        Proxy(redis_server.port) as proxy,
        running(proxy.url) as (broker, _),
        idle(redis_server.url) as other,
    ):
        proxy.latency = 0.1
        first = asyncio.create_task(broker.subscribe(ALICE))
        await asyncio.sleep(0.12)  # it has reached the server, and its answer is on the way
        broker.unsubscribe(ALICE)
        await asyncio.sleep(0.12)  # so has this, when that answer arrives
        await broker.subscribe(ALICE)
        for n in range(20):
            (receipt,) = await other.publish([publication(ALICE, n)])
            assert receipt.receivers == 1
        await asyncio.wait({first})


async def test_the_server_holds_something_else(redis_url: str, prefix: str, logs: list[EventDict]) -> None:
    """When the server's count of channels is another than the wanted one, time and again, the link starts anew."""
    async with running(redis_url, prefix) as (broker, heard):

        class Miscounting:
            async def probe(self, channel: str, number: int) -> None:
                await broker.probe(channel, number)

            async def subscriptions(self, client_id: int) -> int:
                return await broker.subscriptions(client_id) + 1

            async def distrust(self) -> None:
                await broker.distrust()

            async def examine(self) -> None:
                await broker.examine()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(link, "COMPARE_EVERY", 1)
            misled = Link(route(redis_url), Keys(prefix), "misled", Miscounting(), BrokerStats())
            misled.start(heard)
            await until(lambda: misled.stats.reconnects, within=10)
            await misled.close()
        assert broker.stats.reconnects == 0
    assert "does not hold the subscriptions" in reasons(logs)[0]


@pytest.mark.parametrize(
    ("user", "reason"), [("", "NOAUTH"), (":wrong@", "WRONGPASS"), ("nobody:secret@", "WRONGPASS")]
)
async def test_not_let_in(user: str, reason: str) -> None:
    """Why the server does not let the process in is to be seen, and the password is not."""
    async with RedisServer(requirepass="secret") as server:
        url = server.url.replace("redis://", f"redis://{user}")
        async with running(url, up=False) as (broker, heard):
            await until(lambda: reason in (broker.health() or ""))
            assert "secret" not in str(broker.health())
            assert heard.said.count("restored") == 0
        async with running(server.url.replace("redis://", "redis://:secret@")) as (broker, heard):
            await broker.subscribe(ALICE)
            await publish(broker, ALICE, 1)
            await heard.hears(1)


async def test_a_channel_that_is_not_allowed(redis_server: RedisServer) -> None:
    """A subscription that the server refuses shows, instead of a caller who waits for ever without a reason."""
    async with Redis.from_url(redis_server.url) as redis, running(redis_server.url) as (broker, heard):
        admin: Any = redis
        await admin.execute_command(
            "ACL", "SETUSER", "default", "resetchannels", f"&{PREFIX}:probe:*", f"&{PREFIX}:{BOB}"
        )
        subscribing = asyncio.create_task(broker.subscribe(ALICE))
        await until(lambda: "NOPERM" in (broker.health() or ""), within=NOTICED_WITHIN)
        await admin.execute_command("ACL", "SETUSER", "default", "allchannels")
        await subscribing
        await until(lambda: broker.health() is None)
        await publish(broker, ALICE, 1)
        await heard.hears(1)
