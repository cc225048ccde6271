"""From what each channel still keeps to one page in id order, and to the verdict whether anything was lost.

Every entry names the id of the one before it in its channel, and the broker remembers each channel's last id
for longer than its history. So a hole shows wherever it is: before the first entry kept (trimmed, expired), in
the middle (deleted), or at the end (the whole history deleted). Nothing is inferred from how much is there.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

from ..events import Entry
from ..ids import START, EventId
from .base import Page

MEMORY_OF_LAST = 2
"""A channel's last id is remembered this many times longer than its history (`GATEWAY_RETENTION_TTL`)."""


class Slice(NamedTuple):
    """What a channel keeps after a cursor: its entries (at most a page of them), and the last id ever published.

    `last` is None when nothing was published within the time that last ids are remembered.
    """

    channel: str
    entries: list[Entry]
    truncated: bool
    last: EventId | None
    oldest: EventId | None


class Horizon(NamedTuple):
    """What the broker as a whole remembers: ids in [epoch, tip], last ids of channels for `memory_ms`.

    `beyond` is the newest id, of any channel, that is older than `memory_ms`; None where the journal does not reach
    so far. So a night without an event is not taken for one whose events were forgotten.
    """

    epoch: EventId
    tip: EventId
    now_ms: int
    memory_ms: int
    beyond: EventId | None = None

    def forgot_after(self, seen: EventId, time_ms: int) -> bool:
        """Whether a channel may have had events after `seen` of which nothing was remembered at `time_ms`."""
        return seen.ms < time_ms - self.memory_ms and (self.beyond is None or seen < self.beyond)


def page(slices: Sequence[Slice], after: EventId, horizon: Horizon) -> Page:
    """Merge the slices of one moment. `after` may be any id: one outside the horizon is a gap."""
    oldest = min((s.oldest for s in slices if s.oldest is not None), default=None)
    epoch = min(horizon.epoch, oldest or horizon.epoch)  # the journal may have been deleted, and not the histories
    if after > horizon.tip or START < after < epoch:
        return Page([], START, horizon.tip, lost=tuple(s.channel for s in slices), oldest=oldest)
    upto = min((s.entries[-1].id or START for s in slices if s.truncated), default=horizon.tip)
    merged = [
        entry
        for entry in heapq.merge(*(s.entries for s in slices), key=attrgetter("id"))
        if entry.id is not None and entry.id <= upto
    ]
    lost = () if after == START else tuple(s.channel for s in slices if _lost(s, after, upto, horizon))
    return Page(merged, upto, horizon.tip, lost, oldest)


def _lost(slice_: Slice, after: EventId, upto: EventId, horizon: Horizon) -> bool:
    """Whether an event of this channel in (after, upto] is not among the entries, or may not be: of a hole that
    reaches beyond `upto` nobody knows where in it the events were."""
    seen = after
    for entry in slice_.entries:
        assert entry.id is not None
        if entry.previous is None:
            if horizon.forgot_after(seen, entry.id.ms):
                return True
        elif entry.previous > seen:
            return True
        if entry.id > upto:  # and it closes the chain: nothing is missing between `seen` and here
            return False
        seen = entry.id
    if slice_.truncated:
        return False
    if slice_.last is None:  # after the tip there was nothing on any channel, however long ago that is
        return seen < horizon.tip and horizon.forgot_after(seen, horizon.now_ms)
    return slice_.last > seen
