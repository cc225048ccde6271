"""The contract of `gateway.broker.base.Broker`, as tests that every adapter passes: publishing, and the end.

What is announced to whom is in `contract_subscribe.py`; what is kept, and told when it was lost, in
`contract_history.py`. `test_contract.py` runs them all.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from broker.conftest import World
from broker.listening import all_that_is_kept, ids, publication, publish
from servers import until

from gateway.broker.base import Receipt
from gateway.events import SSEEvent
from gateway.ids import START

ALICE, BOB, NEWS = "user:alice", "user:bob", "topic:news"


async def turns(count: int = 1) -> None:
    """Let the event loop go round."""
    for _ in range(count):
        await asyncio.sleep(0)


class PublishContract:
    async def test_ids_increase_over_all_channels(self, world: World) -> None:
        """Each event's id is greater than that of any event before it, on whatever channel."""
        broker, _ = await world.process()
        given = [(await publish(broker, channel, 1))[0] for channel in (ALICE, BOB, NEWS, BOB, ALICE) * 5]
        assert given == sorted(set(given))

    async def test_ids_increase_however_many_publish(self, world: World) -> None:
        """Events that two processes publish at the same time have ids of their own, in the order they are kept."""
        (one, _), (two, _) = await world.process(), await world.process()
        channels = [ALICE, BOB, NEWS]
        lists = await asyncio.gather(
            *(publish(broker, channels[n % 3], *range(n % 5 + 1)) for n in range(60) for broker in (one, two))
        )
        for given in lists:
            assert given == sorted(given)
        everything = [id for given in lists for id in given]
        assert len(set(everything)) == len(everything)
        page = await one.read(channels, START, 1000)
        assert [entry.id for entry in page.entries] == sorted(everything)

    async def test_calls_one_after_the_other_stay_in_order(self, world: World) -> None:
        """Publishes made in one turn of the loop are kept in the order they were made."""
        broker, _ = await world.process()
        await asyncio.gather(*(publish(broker, ALICE, n) for n in range(300)))
        page = await broker.read([ALICE], START, 1000)
        assert [int(entry.data) for entry in page.entries] == list(range(300))

    async def test_a_list_is_announced_whole_and_in_order(self, world: World) -> None:
        """A list over several channels is announced in its order, with the ids of the receipts."""
        broker, heard = await world.process()
        for channel in (ALICE, BOB):
            await broker.subscribe(channel)
        receipts = await broker.publish([publication(c, n) for n, c in enumerate([ALICE, BOB, BOB, ALICE])])
        await heard.hears(0, 1, 2, 3)
        assert [entry.id for entry in heard.entries] == ids(receipts)
        assert [entry.channel for entry in heard.entries] == [ALICE, BOB, BOB, ALICE]

    async def test_no_reader_sees_half_of_a_list(self, world: World) -> None:
        """Whatever is read while lists of ten are published holds whole lists."""
        (writer, _), (reader, _) = await world.process(), await world.process()
        await publish(writer, NEWS, "begin")
        since = await writer.tip()
        writing = asyncio.gather(
            *(writer.publish([publication(c, n) for c in (ALICE, BOB) for _ in range(5)]) for n in range(40))
        )
        sizes = []
        while not writing.done():
            page = await reader.read([ALICE, BOB], since, 1000)
            touched = await reader.touched(since, 1000)
            sizes += [len(page.entries), len(touched.channels)]
            await turns()
        await writing
        page = await reader.read([ALICE, BOB], since, 1000)
        assert len(page.entries) == 400
        assert [size for size in sizes if size % 10] == []

    async def test_an_empty_list(self, world: World) -> None:
        """Publishing nothing is answered by nothing."""
        broker, _ = await world.process()
        assert await broker.publish([]) == []

    async def test_what_is_announced_is_what_is_kept(self, world: World) -> None:
        """Every field that delivery needs comes through, live and from history."""
        broker, heard = await world.process()
        await broker.subscribe(ALICE)
        event = SSEEvent("sync.done", data={"text": "Grüße\n\x00\u2028🎉"}, retry=1500, ttl=60.5, key="state")
        first = await publish(broker, ALICE, 1)
        await broker.publish([publication(ALICE, 1)._replace(event=event)])
        await until(lambda: len(heard.entries) == 2)
        announced, page = heard.entries, await broker.read([ALICE], START, 10)
        assert page.entries == announced
        entry = announced[1]
        assert (entry.event_type, entry.data) == ("sync.done", event.data_json)
        assert (entry.retry, entry.ttl, entry.key) == (1500, 60.5, "state")
        assert (announced[0].previous, entry.previous) == (None, first[0])

    async def test_receivers_are_processes(self, world: World) -> None:
        """A receipt counts the processes that listen on the channel at that moment."""
        (one, _), (two, _) = await world.process(), await world.process()
        await one.subscribe(ALICE)
        await one.subscribe(ALICE)
        receipts = await one.publish([publication(ALICE), publication(BOB)])
        assert [receipt.receivers for receipt in receipts] == [1, 0]
        await two.subscribe(ALICE)
        (receipt,) = await two.publish([publication(ALICE)])
        assert receipt.receivers == (2 if world.processes_are_apart else 1)


class IdempotencyContract:
    @pytest.mark.parametrize("by", ["key", "id"])
    async def test_published_again_is_one_event(self, world: World, by: str) -> None:
        """The same idempotency key, or the event's own id: the first answer again, and no second event."""
        (one, heard), (two, _) = await world.process(), await world.process()
        await one.subscribe(ALICE)
        named: dict[str, Any] = {by: "order-17"}
        (first,) = await one.publish([publication(ALICE, 1, **named)])
        again: list[Receipt] = []
        for broker in (one, two):
            again += await broker.publish([publication(ALICE, 2, **named)])
        await publish(one, ALICE, 3)
        assert again == [first, first]
        await heard.hears(1, 3)
        assert [entry.data for entry in (await two.read([ALICE], START, 10)).entries] == [b"1", b"3"]

    @pytest.mark.parametrize("by", ["key", "id"])
    async def test_twice_in_one_list_is_one_event(self, world: World, by: str) -> None:
        """Within one list too."""
        broker, heard = await world.process()
        await broker.subscribe(ALICE)
        named: dict[str, Any] = {by: "a"}
        receipts = await broker.publish(
            [publication(ALICE, 1, **named), publication(ALICE, 2), publication(ALICE, 3, **named)]
        )
        assert receipts[2] == receipts[0] != receipts[1]
        await heard.hears(1, 2)

    async def test_at_the_same_time_is_one_event(self, world: World) -> None:
        """Many who publish the same key at once get the same answer."""
        (one, _), (two, _) = await world.process(), await world.process()
        answers = await asyncio.gather(
            *(broker.publish([publication(ALICE, n, key="k")]) for n in range(50) for broker in (one, two))
        )
        assert len({receipt for (receipt,) in answers}) == 1
        assert len((await one.read([ALICE], START, 10)).entries) == 1

    async def test_on_another_channel_is_another_event(self, world: World) -> None:
        """A key belongs to its channel."""
        broker, _ = await world.process()
        receipts = await broker.publish([publication(c, 1, key="k") for c in (ALICE, BOB, NEWS)])
        assert len(set(ids(receipts))) == 3

    async def test_channels_and_keys_that_look_alike(self, world: World) -> None:
        """However colons and escapes fall, two pairs of channel and key are two."""
        broker, _ = await world.process()
        pairs = [("user:a", "b:c"), ("user:a:b", "c"), ("user:a", "b%3Ac"), ("user:a:b:c", "c"), ("user:a", "b%253Ac")]
        receipts = await broker.publish([publication(channel, 1, key=key) for channel, key in pairs])
        assert len(set(ids(receipts))) == len(pairs)

    async def test_a_key_has_its_lifetime(self, world: World) -> None:
        """After its lifetime a key may be used again."""
        broker, _ = await world.process(idempotency_ttl=0.3)
        (first,) = await broker.publish([publication(ALICE, 1, key="k")])
        await world.elapse(0.5)
        (second,) = await broker.publish([publication(ALICE, 2, key="k")])
        assert first.id is not None
        assert second.id is not None
        assert second.id > first.id


class LifeContract:
    async def test_health(self, world: World) -> None:
        """A broker that hears says nothing; one that is closed says why it does not."""
        broker, _ = await world.process()
        assert broker.health() is None
        await broker.close()
        assert broker.health()
        assert broker.failed() is None, "closed on purpose is not failed"

    async def test_the_clock_of_ids(self, world: World) -> None:
        """Where the broker tells its clock, it is the one that ids are made of."""
        broker, _ = await world.process()
        before = await until(broker.now_ms, what="the broker's clock is known")
        assert before is not None
        (id,) = await publish(broker, ALICE, 1)
        after = broker.now_ms()
        assert after is not None
        assert before - 100 <= id.ms <= after + 100

    async def test_close_twice(self, world: World) -> None:
        """Closing ends every task, and may be done again."""
        before = asyncio.all_tasks()
        broker, heard = await world.process()
        await broker.subscribe(ALICE)
        await publish(broker, ALICE, 1)
        await heard.hears(1)
        await broker.close()
        assert asyncio.all_tasks() == before
        await broker.close()

    async def test_closed_amid_everything(self, world: World) -> None:
        """Whoever still waits when the broker is closed gets away, and no task is left."""
        before = asyncio.all_tasks()
        broker, _ = await world.process()
        waiting: list[asyncio.Task[Any]] = [asyncio.create_task(publish(broker, ALICE, n)) for n in range(20)]
        waiting += [asyncio.create_task(all_that_is_kept(broker, [ALICE], START, 5)) for _ in range(5)]
        subscribing = [asyncio.create_task(broker.subscribe(f"user:{n}")) for n in range(20)]
        await turns(2)
        await broker.close()
        await asyncio.wait([*waiting, *subscribing], timeout=10)
        assert asyncio.all_tasks() == before
        await asyncio.gather(*waiting, *subscribing, return_exceptions=True)
