"""The contract of `gateway.broker.base.Broker`, second part: what is announced, to whom, and from when on."""

from __future__ import annotations

import asyncio

import pytest
from broker.conftest import World
from broker.contract import ALICE, BOB, NEWS, turns
from broker.listening import publication, publish
from servers import until

from gateway.ids import EventId


class SubscribeContract:
    async def test_only_subscribers_hear(self, world: World) -> None:
        """Announcements come for subscribed channels, and for no others."""
        (one, heard), (two, heard_by_two) = await world.process(), await world.process()
        await one.subscribe(ALICE)
        await one.publish([publication(BOB, "no"), publication(ALICE, 1), publication(NEWS, "no")])
        await two.publish([publication("user:alicex", "no"), publication("user:alic", "no"), publication(ALICE, 2)])
        await heard.hears(1, 2)
        if world.processes_are_apart:
            assert heard_by_two.entries == []

    async def test_announced_from_the_moment_subscribe_returns(self, world: World) -> None:
        """What another process publishes right after `subscribe` returned is heard, every time."""
        (one, heard), (two, _) = await world.process(), await world.process()
        for n in range(50):
            await one.subscribe(f"user:{n}")
            await publish(two, f"user:{n}", n)
        await heard.hears(*range(50))

    async def test_announced_in_publish_order(self, world: World) -> None:
        """Announcements of two busy processes arrive in id order over all channels."""
        (one, heard), (two, _) = await world.process(), await world.process()
        channels = [ALICE, BOB, NEWS]
        await asyncio.gather(*(one.subscribe(channel) for channel in channels))
        await asyncio.gather(*(publish(b, channels[n % 3], n) for n in range(150) for b in (one, two)))
        await until(lambda: len(heard.entries) == 300)
        assert heard.order == sorted(heard.order)
        previous: dict[str, EventId | None] = {}
        for entry in heard.entries:
            assert entry.previous == previous.get(entry.channel)
            previous[entry.channel] = entry.id

    async def test_twice_is_once(self, world: World) -> None:
        """Subscribed twice, an event is heard once; unsubscribed once, no more."""
        (one, heard), (two, _) = await world.process(), await world.process()
        await one.subscribe(ALICE)
        await asyncio.gather(one.subscribe(ALICE), one.subscribe(ALICE))
        await publish(two, ALICE, 1)
        one.unsubscribe(ALICE)
        await one.subscribe(BOB)  # confirmed after what was asked before it
        await publish(two, ALICE, "no")
        await publish(two, BOB, 2)
        await heard.hears(1, 2)

    async def test_what_was_never_subscribed_can_be_unsubscribed(self, world: World) -> None:
        """Unsubscribing without a subscription does nothing."""
        broker, heard = await world.process()
        broker.unsubscribe(ALICE)
        await broker.subscribe(ALICE)
        await publish(broker, ALICE, 1)
        await heard.hears(1)

    async def test_back_before_it_was_gone(self, world: World) -> None:
        """Unsubscribed and subscribed again in one breath, the next event is heard exactly once."""
        (one, heard), (two, _) = await world.process(), await world.process()
        await one.subscribe(ALICE)
        one.unsubscribe(ALICE)
        await one.subscribe(ALICE)
        await publish(two, ALICE, 1)
        await one.subscribe(BOB)
        await publish(two, BOB, 2)
        await heard.hears(1, 2)

    @pytest.mark.parametrize("pause", [0, 1, 2, 3, 5])
    async def test_flapping(self, world: World, pause: int) -> None:
        """Subscribed, not, and again, faster than any answer: heard exactly once, and every caller gets away."""
        (one, heard), (two, _) = await world.process(), await world.process()
        calls = []
        for _ in range(20):
            calls.append(asyncio.create_task(one.subscribe(ALICE)))
            await turns(pause)
            one.unsubscribe(ALICE)
            await turns(pause)
        async with asyncio.timeout(10):
            await one.subscribe(ALICE)
        await publish(two, ALICE, 1)
        await one.subscribe(BOB)
        await publish(two, BOB, 2)
        await heard.hears(1, 2)
        await until(lambda: all(call.done() for call in calls))
        await asyncio.gather(*calls, return_exceptions=True)

    async def test_gone_after_flapping(self, world: World) -> None:
        """Whoever unsubscribed last is not subscribed."""
        (one, heard), (two, _) = await world.process(), await world.process()
        for pause in range(6):
            await one.subscribe(ALICE)
            one.unsubscribe(ALICE)
            await turns(pause)
        await one.subscribe(BOB)
        (receipt, _) = await two.publish([publication(ALICE, "no"), publication(BOB, 1)])
        assert receipt.receivers == 0
        await heard.hears(1)

    async def test_cancelled_while_it_waits(self, world: World) -> None:
        """A cancelled `subscribe` takes no other with it, and the channel can be left and joined again."""
        (one, heard), (two, _) = await world.process(), await world.process()
        given_up = asyncio.create_task(one.subscribe(ALICE))
        other = asyncio.create_task(one.subscribe(ALICE))
        await turns()
        given_up.cancel()
        await other
        await publish(two, ALICE, 1)
        await heard.hears(1)
        one.unsubscribe(ALICE)
        given_up = asyncio.create_task(one.subscribe(ALICE))
        await turns()
        given_up.cancel()
        one.unsubscribe(ALICE)
        await one.subscribe(ALICE)
        await publish(two, ALICE, 2)
        await heard.hears(1, 2)
        await asyncio.gather(given_up, return_exceptions=True)

    async def test_many_channels_at_once(self, world: World) -> None:
        """Thousands of channels subscribed in one turn are all announced."""
        (one, heard), (two, _) = await world.process(), await world.process()
        channels = [f"user:{n}" for n in range(2_500)]
        await asyncio.gather(*map(one.subscribe, channels))
        receipts = await two.publish([publication(channel, n) for n, channel in enumerate(channels)])
        assert {receipt.receivers for receipt in receipts} == {1}
        await heard.hears(*range(2_500))


class WatermarkContract:
    async def test_it_reaches_the_tip(self, world: World) -> None:
        """A process that hears no event still learns how far the announcements went."""
        (one, heard), (two, _) = await world.process(), await world.process()
        await one.subscribe(ALICE)
        (id,) = await publish(two, BOB, 1)
        await until(lambda: heard.marks and heard.marks[-1] == id)

    async def test_nothing_comes_late(self, world: World) -> None:
        """After a watermark no announcement of an id up to it follows."""
        (one, heard), (two, _) = await world.process(), await world.process()
        await one.subscribe(ALICE)
        marks_before = len(heard.marks)
        while len(heard.marks) < marks_before + 2:
            await asyncio.gather(*(publish(two, channel, 1) for channel in (ALICE, BOB, ALICE)))
        assert heard.order == sorted(heard.order)
