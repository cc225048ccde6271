"""The verdict on loss, as a pure function: examples one by one, then any history at all against a full record."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.broker.base import Page
from gateway.broker.history import Horizon, Slice, page
from gateway.events import Entry
from gateway.ids import START, EventId

NOW, MEMORY = 10_000_000, 100_000
EPOCH = EventId(NOW - 10 * MEMORY, 0)


def at(ms: int) -> EventId:
    """The id given `ms` milliseconds before now."""
    return EventId(NOW - ms, 0)


def entry(channel: str, id: EventId, previous: EventId | None = None) -> Entry:
    return Entry(channel, id, "test.event", b"1", previous)


def kept(*chain: tuple[int, int | None], channel: str = "a", last: int | None = None, truncated: bool = False) -> Slice:
    """A slice of entries (age, age of the one before), and the age of the last ever published."""
    entries = [entry(channel, at(age), None if before is None else at(before)) for age, before in chain]
    oldest = entries[0].id if entries else None
    return Slice(channel, entries, truncated, None if last is None else at(last), oldest)


def read(*slices: Slice, after: int, tip: int = 0) -> Page:
    return page(slices, at(after), Horizon(EPOCH, at(tip), NOW, MEMORY))


# In each: what is kept, the cursor's age, and whether something was lost.
VERDICTS = {
    "all there": (kept((5, 7), (3, 5), last=3), 7, False),
    "all there, from an id of another channel": (kept((5, 7), (3, 5), last=3), 6, False),
    "nothing since": (kept(last=7), 7, False),
    "nothing since, from a later cursor": (kept(last=7), 6, False),
    "never used, recent cursor": (kept(), 50, False),
    "the first ever": (kept((5, None), last=5), 50, False),
    "the first trimmed": (kept((3, 5), last=3), 7, True),
    "one in the middle deleted": (kept((8, 9), (5, 6), (3, 5), last=3), 9, True),
    "the last deleted": (kept((5, 7), last=3), 7, True),
    "the only one deleted": (kept(last=3), 7, True),
    "the whole history deleted, then more": (kept((1, 3), last=1), 7, True),
    "never used, cursor older than memory": (kept(), MEMORY + 1, True),
    "never used, cursor just within memory": (kept(), MEMORY, False),
    "the first that is remembered, cursor older than memory": (kept((5, None), last=5), MEMORY + 6, True),
    "the first that is remembered, cursor just within": (kept((5, None), last=5), MEMORY + 5, False),
}


@pytest.mark.parametrize(("slice_", "after", "lost"), VERDICTS.values(), ids=VERDICTS.keys())
def test_lost_or_not(slice_: Slice, after: int, lost: bool) -> None:
    """A hole is told wherever it is; where there is none, none is told."""
    assert read(slice_, after=after).lost == (("a",) if lost else ())


def test_from_the_start_nothing_is_lost() -> None:
    """Whoever asks for all that is kept misses nothing that is not."""
    read_all = page([kept((3, 5), last=1)], START, Horizon(EPOCH, at(0), NOW, MEMORY))
    assert (len(read_all.entries), read_all.lost) == (1, ())


@pytest.mark.parametrize("after", [at(-1), EventId(NOW, 1), EventId(EPOCH.ms - 1, 9), EventId(0, 1)])
def test_outside_the_horizon(after: EventId) -> None:
    """A cursor of the future or from before the epoch: every channel is lost, and reading begins anew."""
    slices = [kept((5, 7), channel="a", last=5), kept(channel="b")]
    horizon = Horizon(EPOCH, at(0), NOW, MEMORY)
    assert page(slices, after, horizon) == Page([], START, at(0), ("a", "b"), at(5))


@pytest.mark.parametrize("after", [EPOCH, at(0)])
def test_at_the_edge_of_the_horizon(after: EventId) -> None:
    """The epoch and the tip themselves are good cursors."""
    slices = [kept(channel="a", last=200_000)] if after == at(0) else [kept((5, None), channel="a", last=5)]
    horizon = Horizon(EPOCH, at(0), NOW, memory_ms=10 * MEMORY)
    assert page(slices, after, horizon).lost == ()


def test_cut_where_the_first_channel_was_cut() -> None:
    """A page ends at the least last entry of the channels that were cut; what others have beyond it waits."""
    a = kept((9, None), (5, 9), channel="a", last=1, truncated=True)
    b = kept((7, None), (3, 7), channel="b", last=1, truncated=True)
    c = kept((8, None), (2, 8), channel="c", last=2)
    merged = read(a, b, c, after=20)
    assert [found.id for found in merged.entries] == [at(9), at(8), at(7), at(5)]
    assert (merged.upto, merged.lost, merged.oldest) == (at(5), (), at(9))


def test_a_hole_before_the_cut_of_another_channel() -> None:
    """A deleted event within the page shows, even if the entry that tells of it comes after the page."""
    a = kept((9, None), (5, 9), channel="a", last=1, truncated=True)
    b = kept((2, 7), channel="b", last=2)  # 7 is gone
    assert read(a, b, after=20).lost == ("b",)


def test_forgotten_before_the_cut_of_another_channel() -> None:
    """So does a time that the broker does not remember."""
    a = kept((MEMORY + 90, None), (MEMORY, MEMORY + 90), channel="a", last=1, truncated=True)
    b = kept((2, None), channel="b", last=2)
    assert read(a, b, after=MEMORY + 100).lost == ("b",)


@pytest.mark.parametrize(("beyond", "lost"), [(MEMORY + 50, True), (MEMORY + 100, False), (None, True)])
@pytest.mark.parametrize("slice_", [kept(), kept((5, None), last=5)], ids=["nothing since", "one since"])
def test_a_quiet_time_is_not_a_forgotten_one(slice_: Slice, beyond: int | None, lost: bool) -> None:
    """Longer ago than memory reaches, it matters whether anything at all was published since the cursor."""
    horizon = Horizon(EPOCH, at(0), NOW, MEMORY, None if beyond is None else at(beyond))
    assert page([slice_], at(MEMORY + 100), horizon).lost == (("a",) if lost else ())


# Any history at all


@dataclass
class Record:
    """Everything ever published, and what became of it."""

    published: list[tuple[EventId, str]] = field(default_factory=list)
    removed: set[EventId] = field(default_factory=set)

    def slice(self, channel: str, after: EventId, limit: int) -> Slice:
        mine = [id for id, on in self.published if on == channel]
        entries = [
            entry(channel, id, previous)
            for id, previous in zip(mine, [None, *mine], strict=False)
            if id not in self.removed
        ]
        newer = [one for one in entries if one.id is not None and one.id > after]
        last = mine[-1] if mine else None
        return Slice(channel, newer[:limit], len(newer) > limit, last, entries[0].id if entries else None)

    def lost(self, channel: str, after: EventId, upto: EventId) -> bool:
        return any(on == channel and id in self.removed and after < id <= upto for id, on in self.published)

    def kept(self, channels: list[str], after: EventId, upto: EventId) -> list[EventId]:
        return [id for id, on in self.published if on in channels and id not in self.removed and after < id <= upto]


CHANNELS = ["a", "b", "c"]


@st.composite
def records(draw: st.DrawFn) -> Record:
    record = Record()
    for number, (channel, is_removed) in enumerate(draw(st.lists(st.tuples(st.sampled_from(CHANNELS), st.booleans())))):
        id = EventId(NOW - 1000 + number // 3, number % 3)
        record.published.append((id, channel))
        if is_removed:
            record.removed.add(id)
    return record


@settings(max_examples=400, deadline=None)
@given(record=records(), data=st.data(), limit=st.integers(1, 6))
def test_any_history(record: Record, data: st.DataObject, limit: int) -> None:
    """Catching up gives all that is kept, once, in order; a loss is told exactly when something was removed.

    A page may tell of a loss that lies beyond it, as its evidence does not say where; never of one that is not.
    """
    born = EventId(NOW - 2000, 0)
    tip = record.published[-1][0] if record.published else born
    horizon = Horizon(born, tip, NOW, MEMORY)
    start = data.draw(st.sampled_from([born, *(id for id, _ in record.published)]))
    given_entries: list[EventId | None] = []
    told: set[str] = set()
    after = start
    while after < tip:
        got = page([record.slice(channel, after, limit) for channel in CHANNELS], after, horizon)
        assert after < got.upto <= tip == got.tip
        assert [one.id for one in got.entries] == record.kept(CHANNELS, after, got.upto)
        for channel in CHANNELS:
            if record.lost(channel, after, got.upto):
                assert channel in got.lost
            if channel in got.lost:
                assert record.lost(channel, after, tip)
        given_entries += [one.id for one in got.entries]
        told |= set(got.lost)
        after = got.upto
    assert given_entries == record.kept(CHANNELS, start, tip)
    assert told == {channel for channel in CHANNELS if record.lost(channel, start, tip)}
