"""The contract of `gateway.broker.base.Broker`, third part: what is kept, for how long, and what is told lost."""

from __future__ import annotations

from broker.conftest import World
from broker.contract import ALICE, BOB, NEWS
from broker.listening import all_that_is_kept, ids, publication, publish

from gateway.ids import START, EventId

NOBODY = "user:nobody"
KEPT_AT_LEAST = 100
"""Redis trims whole nodes of its streams, so it keeps up to some hundred more than it was told."""


class ReadContract:
    async def test_merged_in_id_order(self, world: World) -> None:
        """A page of several channels is in id order, whatever the order they are named in."""
        broker, _ = await world.process()
        given = ids(await broker.publish([publication(c, 1) for c in (ALICE, NEWS, BOB, ALICE, NEWS)]))
        page = await broker.read([NEWS, BOB, ALICE], START, 10)
        assert [entry.id for entry in page.entries] == given
        assert [entry.channel for entry in page.entries] == [ALICE, NEWS, BOB, ALICE, NEWS]
        assert (page.upto, page.tip, page.lost) == (given[-1], given[-1], ())
        assert page.oldest == given[0]

    async def test_only_the_channels_asked_for(self, world: World) -> None:
        """Other channels' events are not in the page, though its tip is theirs."""
        broker, _ = await world.process()
        given = ids(await broker.publish([publication(c, c) for c in (ALICE, BOB)]))
        page = await broker.read([ALICE], START, 10)
        assert [entry.id for entry in page.entries] == given[:1]
        assert (page.upto, page.tip, page.oldest) == (given[1], given[1], given[0])

    async def test_after_the_cursor(self, world: World) -> None:
        """The event at the cursor is not given again; the next one is."""
        broker, _ = await world.process()
        given = await publish(broker, ALICE, *range(5))
        for position, cursor in enumerate(given):
            page = await broker.read([ALICE], cursor, 10)
            assert [entry.id for entry in page.entries] == given[position + 1 :]
            assert page.lost == ()

    async def test_a_cursor_between_two_events(self, world: World) -> None:
        """A cursor need not be an event of the channels that are read."""
        broker, _ = await world.process()
        given = ids(await broker.publish([publication(c, c) for c in (ALICE, BOB, ALICE, BOB)]))
        page = await broker.read([ALICE], given[1], 10)
        assert ([entry.id for entry in page.entries], page.lost) == ([given[2]], ())

    async def test_cut_at_the_limit(self, world: World) -> None:
        """No channel gives more than the limit, and the page ends where the first of them was cut."""
        broker, _ = await world.process()
        given = ids(await broker.publish([publication(c, 1) for c in (ALICE, ALICE, BOB, ALICE, BOB, BOB)]))
        page = await broker.read([ALICE, BOB], START, 2)
        assert [entry.id for entry in page.entries] == given[:2]
        assert (page.upto, page.tip) == (given[1], given[-1])

    async def test_page_by_page_is_everything_once(self, world: World) -> None:
        """Going on from `upto` gives every event once, in order, for any limit."""
        broker, _ = await world.process()
        channels = [ALICE, BOB, NEWS]
        given = ids(await broker.publish([publication(channels[n * n % 7 % 3], n) for n in range(60)]))
        for limit in (1, 2, 3, 7, 59, 60, 61):
            entries, lost = await all_that_is_kept(broker, [*channels, NOBODY], START, limit)
            assert [entry.id for entry in entries] == given
            assert not lost

    async def test_large_events(self, world: World) -> None:
        """Pages of large events may be shorter than the limit; going on gives every event once all the same."""
        broker, _ = await world.process()
        given = [(await publish(broker, (ALICE, BOB)[n % 3 % 2], "x" * 60_000))[0] for n in range(40)]
        page = await broker.read([ALICE, BOB], START, 100)
        assert [entry.id for entry in page.entries] == given[: len(page.entries)]
        entries, lost = await all_that_is_kept(broker, [ALICE, BOB], START, 100)
        assert ([entry.id for entry in entries], lost) == (given, False)

    async def test_the_tip(self, world: World) -> None:
        """The tip is the last id given on any channel; reading from there gives nothing and loses nothing."""
        broker, _ = await world.process()
        before = await broker.tip()
        (id,) = await publish(broker, BOB, 1)
        assert before < id == await broker.tip()
        page = await broker.read([ALICE, BOB, NOBODY], id, 10)
        assert (page.entries, page.upto, page.tip, page.lost) == ([], id, id, ())

    async def test_before_the_first_event(self, world: World) -> None:
        """A cursor taken before anything was published is a good one."""
        broker, _ = await world.process()
        cursor = await broker.tip()
        page = await broker.read([ALICE], cursor, 10)
        assert (page.entries, page.upto, page.lost, page.oldest) == ([], cursor, (), None)
        given = await publish(broker, ALICE, 1, 2)
        page = await broker.read([ALICE, BOB], cursor, 10)
        assert ([entry.id for entry in page.entries], page.lost) == (given, ())

    async def test_another_process_reads_the_same(self, world: World) -> None:
        """History belongs to the broker, not to who wrote it."""
        (one, _), (two, _) = await world.process(), await world.process()
        await publish(one, ALICE, 1)
        await publish(two, ALICE, 2)
        assert await one.read([ALICE], START, 10) == await two.read([ALICE], START, 10)


class TouchedContract:
    async def test_which_channels_in_order(self, world: World) -> None:
        """The journal after an id names each event's channel, in order."""
        broker, _ = await world.process()
        (since,) = await publish(broker, BOB, 1)
        given = ids(await broker.publish([publication(c, 1) for c in (ALICE, NEWS, ALICE)]))
        touched = await broker.touched(since, 10)
        assert touched.channels == list(zip(given, (ALICE, NEWS, ALICE), strict=True))
        assert (touched.intact, touched.complete) == (True, True)

    async def test_nothing_after_the_tip(self, world: World) -> None:
        """At the tip there is nothing more, and nothing amiss: with events, and before the first one."""
        broker, _ = await world.process()
        assert await broker.touched(await broker.tip(), 10) == ([], True, True)
        (id,) = await publish(broker, ALICE, 1)
        assert await broker.touched(id, 10) == ([], True, True)

    async def test_complete_or_not(self, world: World) -> None:
        """Cut at the limit it is not complete; exactly as long as the limit it is."""
        broker, _ = await world.process()
        (since,) = await publish(broker, ALICE, 0)
        given = await publish(broker, ALICE, 1, 2, 3)
        for limit in (1, 2, 3, 4):
            touched = await broker.touched(since, limit)
            assert [id for id, _ in touched.channels] == given[:limit]
            assert touched.intact
            assert touched.complete == (limit >= 3)

    async def test_complete_or_not_from_an_unknown_id(self, world: World) -> None:
        """The same holds from an id that the journal does not have."""
        broker, _ = await world.process()
        (first,) = await publish(broker, ALICE, 0)
        since = EventId(first.ms, first.seq + 1)
        await world.elapse(0.01)
        given = await publish(broker, ALICE, 1, 2, 3)
        for limit in (1, 2, 3, 4):
            touched = await broker.touched(since, limit)
            assert [id for id, _ in touched.channels] == given[:limit]
            assert not touched.intact
            assert touched.complete == (limit >= 3)

    async def test_an_id_of_the_future_is_not_intact(self, world: World) -> None:
        """An id that was never given is not in the journal."""
        broker, _ = await world.process()
        await publish(broker, ALICE, 1)
        touched = await broker.touched(EventId(await world.now_ms() + 60_000, 0), 10)
        assert (touched.channels, touched.intact) == ([], False)


class RetentionOffContract:
    async def test_no_ids_and_no_history(self, world: World) -> None:
        """With retention off events are announced without an id, and not kept."""
        (one, heard), (two, _) = await world.process(retention=False), await world.process()
        assert not one.retention
        await one.subscribe(ALICE)
        receipts = await two.publish([publication(ALICE, 1), publication(BOB, 2), publication(ALICE, 3)])
        assert [receipt.id for receipt in receipts] == [None, None, None]
        assert [receipt.receivers for receipt in receipts] == [1, 0, 1]
        await heard.hears(1, 3)
        assert {(entry.id, entry.previous) for entry in heard.entries} == {(None, None)}
        assert (await one.read([ALICE, BOB], START, 10)).entries == []

    async def test_idempotency_keys_still_count(self, world: World) -> None:
        """Published again with the same key it is still one event."""
        broker, heard = await world.process(retention=False)
        await broker.subscribe(ALICE)
        first = await broker.publish([publication(ALICE, 1, key="k")])
        assert await broker.publish([publication(ALICE, 2, key="k"), publication(ALICE, 3)]) == [first[0], first[0]]
        await heard.hears(1, 3)


class KeptContract:
    async def test_trimmed_by_number(self, world: World) -> None:
        """The newest events are kept; a cursor before the oldest of them is told a loss, one among them is not."""
        broker, _ = await world.process(max_events=KEPT_AT_LEAST)
        given = await publish(broker, ALICE, *range(5 * KEPT_AT_LEAST))
        page = await broker.read([ALICE], START, 1000)
        kept = [entry.id for entry in page.entries]
        assert KEPT_AT_LEAST <= len(kept) < 3 * KEPT_AT_LEAST
        assert kept == given[-len(kept) :]
        assert (page.lost, page.oldest) == ((), kept[0])
        for cursor in (given[0], given[-len(kept) - 2]):
            page = await broker.read([ALICE, BOB], cursor, 1000)
            assert page.lost == (ALICE,)
            assert [entry.id for entry in page.entries] == kept
            assert page.oldest == kept[0]
        for cursor in (given[-len(kept) - 1], given[-len(kept)], given[-2], given[-1]):
            assert (await broker.read([ALICE, BOB], cursor, 1000)).lost == ()

    async def test_expired(self, world: World) -> None:
        """What is past its time is gone, and told: but not to whoever had it all."""
        broker, _ = await world.process(ttl=0.6)
        before = await broker.tip()
        given = await publish(broker, ALICE, 1, 2)
        assert len((await broker.read([ALICE], before, 10)).entries) == 2
        await world.elapse(1.05)
        page = await broker.read([ALICE, BOB], before, 10)
        assert (page.entries, page.lost, page.oldest) == ([], (ALICE,), None)
        assert (await broker.read([ALICE], given[0], 10)).lost == (ALICE,)
        assert (await broker.read([ALICE, BOB], given[1], 10)).lost == ()
        assert (await broker.read([ALICE], START, 10)).lost == ()

    async def test_the_older_part_expired(self, world: World) -> None:
        """Old events go while newer ones of the same channel stay."""
        broker, _ = await world.process(ttl=2)
        before = await broker.tip()
        (old,) = await publish(broker, ALICE, "old")
        await world.elapse(0.8)
        (new,) = await publish(broker, ALICE, "new")
        await world.elapse(1.4)
        page = await broker.read([ALICE], before, 10)
        assert ([entry.id for entry in page.entries], page.lost, page.oldest) == ([new], (ALICE,), new)
        page = await broker.read([ALICE], old, 10)
        assert ([entry.id for entry in page.entries], page.lost) == ([new], ())
        page = await broker.read([ALICE], START, 10)
        assert ([entry.id for entry in page.entries], page.lost) == ([new], ())

    async def test_forgotten_altogether(self, world: World) -> None:
        """When even a channel's last id is forgotten, a cursor from that time is told that it may have lost."""
        broker, _ = await world.process(ttl=0.4)
        before = await broker.tip()
        await publish(broker, ALICE, 1)
        await world.elapse(1.2)
        assert (await broker.read([ALICE], before, 10)).lost == (ALICE,)
        (again,) = await publish(broker, ALICE, 2)
        page = await broker.read([ALICE], before, 10)
        assert ([entry.id for entry in page.entries], page.lost) == ([again], (ALICE,))
        assert (await broker.read([ALICE], again, 10)).lost == ()

    async def test_a_night_without_events(self, world: World) -> None:
        """However long ago the last event was: who had it, and missed nothing, is told nothing."""
        broker, _ = await world.process(ttl=0.4)
        await publish(broker, BOB, 1)
        (last,) = await publish(broker, ALICE, 2)
        await world.elapse(1.2)
        (first,) = await publish(broker, ALICE, 3)
        page = await broker.read([ALICE, BOB, NEWS], last, 10)
        assert ([entry.id for entry in page.entries], page.lost) == ([first], ())


class CursorContract:
    async def test_of_the_future(self, world: World) -> None:
        """A cursor that was never given is told a loss on every channel, and begins anew."""
        broker, _ = await world.process()
        (tip,) = await publish(broker, ALICE, 1)
        for cursor in (
            EventId(tip.ms, tip.seq + 1),
            EventId(tip.ms + 1, 0),
            EventId(9_999_999_999_999_999, 9_999_999_999),
        ):
            page = await broker.read([ALICE, NOBODY], cursor, 10)
            assert (page.entries, page.upto, page.tip) == ([], START, tip)
            assert (page.lost, page.oldest) == ((ALICE, NOBODY), tip)

    async def test_from_before_the_broker(self, world: World) -> None:
        """So is one from before the broker's first id, of another life of it."""
        broker, _ = await world.process()
        epoch = await broker.tip()
        (tip,) = await publish(broker, ALICE, 1)
        for cursor in (EventId(0, 1), EventId(1, 0), EventId(epoch.ms - 1, 0)):
            page = await broker.read([ALICE, NOBODY], cursor, 10)
            assert (page.upto, page.tip, page.lost) == (START, tip, (ALICE, NOBODY))

    async def test_quiet_channels_lose_nothing(self, world: World) -> None:
        """An old cursor, still within retention, on channels where little or nothing happened: no loss is told."""
        broker, _ = await world.process(ttl=5)
        given = await publish(broker, ALICE, 1)
        await world.elapse(1.2)
        await publish(broker, BOB, 2)
        page = await broker.read([ALICE, NEWS, NOBODY], given[0], 10)
        assert (page.entries, page.lost) == ([], ())
        (late,) = await publish(broker, NEWS, 3)
        page = await broker.read([ALICE, NEWS, NOBODY], given[0], 10)
        assert ([entry.id for entry in page.entries], page.lost) == ([late], ())
