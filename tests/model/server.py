"""The truth: a naive server that remembers everything, and what of it it still shows.

It does what the Lua scripts do (one journal that hands out ids, a history, a last id and an epoch beside it), each
question answered in one moment. Besides it keeps a log that nothing is ever removed from, by which the clients'
due is known: which events there were, and which of them are gone.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gateway.broker.base import Page, Touched
from gateway.broker.history import MEMORY_OF_LAST, Horizon, Slice, page
from gateway.events import Entry
from gateway.ids import START, EventId

SNAPSHOTS = 8


@dataclass(eq=False, slots=True)
class Published:
    """One event: what was published, when (s), and what became of it."""

    number: int
    entry: Entry
    at: float
    removed: bool = False
    vanished: bool = False

    @property
    def id(self) -> EventId:
        assert self.entry.id is not None
        return self.entry.id


@dataclass(slots=True)
class Kept:
    """What a failover would bring back."""

    journal: list[tuple[EventId, str]] = field(default_factory=list)
    epoch: EventId | None = None
    histories: dict[str, list[Published]] = field(default_factory=dict)
    last: dict[str, EventId] = field(default_factory=dict)

    def copy(self) -> Kept:
        histories = {channel: list(events) for channel, events in self.histories.items()}
        return Kept(list(self.journal), self.epoch, histories, dict(self.last))


class Subscriber(Protocol):
    """A pub/sub connection as the server sees it."""

    subscribed: dict[str, None]

    def push(self, item: Entry | EventId) -> None: ...


class Server:
    """`wall_ms` is its clock; the rest is its policy."""

    def __init__(
        self, wall_ms: Callable[[], int], *, max_events: int, ttl: float, journal: int, page_bytes: int, retention: bool
    ) -> None:
        self._wall_ms = wall_ms
        self._max_events = max_events
        self._ttl_ms = int(ttl * 1000)
        self._journal_length = journal
        self._page_bytes = page_bytes
        self._retention = retention
        self.kept = Kept()
        self._before: list[Kept] = []
        self._newest = START
        self.log: list[Published] = []
        self.events: list[Published] = []
        self.newest_of_key: dict[tuple[str, str], int] = {}
        self.lost_timelines: list[tuple[EventId, EventId]] = []
        self.subscribers: list[Subscriber] = []

    # What publishers do

    def publish(
        self,
        channel: str,
        now: float,
        *,
        event_type: str,
        size: int = 0,
        key: str | None = None,
        ttl: float | None = None,
    ) -> Published:
        """Store and announce."""
        if not self._retention:
            return self.publish_raw(channel, now, event_type=event_type, size=size)
        self._before = [*self._before[1 - SNAPSHOTS :], self.kept.copy()]
        kept, id = self.kept, self._next_id()
        kept.journal.append((id, channel))
        del kept.journal[: -self._journal_length]
        previous = self._last(channel)
        kept.last[channel] = id
        event = self._event(Entry(channel, id, event_type, b"", previous, None, ttl, key), now, size)
        self.log.append(event)
        if key is not None:
            self.newest_of_key[channel, key] = event.number
        history = kept.histories.setdefault(channel, [])
        history.append(event)
        self._trim(history, self._max_events)
        self._announce(event)
        return event

    def publish_raw(self, channel: str, now: float, *, event_type: str, size: int = 0) -> Published:
        """By hand: announced, never stored."""
        event = self._event(Entry(channel, None, event_type, b""), now, size)
        self._announce(event)
        return event

    def _event(self, entry: Entry, now: float, size: int) -> Published:
        mark = "event" if entry.id is not None else "raw"
        data = f'"{mark}{len(self.events)} {"." * size}"'.encode()
        event = Published(len(self.events), entry._replace(data=data), now)
        self.events.append(event)
        return event

    def _announce(self, event: Published) -> None:
        for subscriber in self.subscribers:
            if event.entry.channel in subscriber.subscribed:
                subscriber.push(event.entry)

    def _next_id(self) -> EventId:
        """Greater than every id there ever was, as wall clocks do it even after the journal was lost."""
        now = self._wall_ms()
        self._newest = EventId(now, 0) if now > self._newest.ms else self._newest._replace(seq=self._newest.seq + 1)
        return self._newest

    # What gateways ask

    def tip(self) -> EventId:
        return self._tip_and_epoch()[0]

    def read(self, channels: Sequence[str], after: EventId, limit: int) -> Page:
        tip, epoch = self._tip_and_epoch()
        slices = [self._slice(channel, after, limit) for channel in channels]
        return page(slices, after, Horizon(epoch, tip, self._wall_ms(), self.memory_ms, self._beyond()))

    def touched(self, after: EventId, limit: int) -> Touched:
        newer = [row for row in self.kept.journal if row[0] > after]
        intact = any(id == after for id, _ in self.kept.journal)
        return Touched(newer[:limit], intact, complete=len(newer) <= limit)

    def _tip_and_epoch(self) -> tuple[EventId, EventId]:
        kept = self.kept
        if not kept.journal:
            kept.epoch = self._next_id()
            kept.journal.append((kept.epoch, ""))
        if kept.epoch is None:
            kept.epoch = kept.journal[0][0]
        return kept.journal[-1][0], kept.epoch

    def _beyond(self) -> EventId | None:
        since = self._wall_ms() - self.memory_ms
        return max((id for id, _ in self.kept.journal if id.ms <= since), default=None)

    def _slice(self, channel: str, after: EventId, limit: int) -> Slice:
        since = self._wall_ms() - self._ttl_ms
        kept = [event for event in self.kept.histories.get(channel, ()) if event.id.ms >= since]
        newer = [event.entry for event in kept if event.id > after]
        page, size = [], 0
        for entry in newer[:limit]:
            page.append(entry)
            size += len(entry.data)
            if size > self._page_bytes:
                break
        oldest = kept[0].id if kept else None
        return Slice(channel, page, len(newer) > len(page), self._last(channel), oldest)

    def _last(self, channel: str) -> EventId | None:
        last = self.kept.last.get(channel)
        return None if last is None or last.ms < self._wall_ms() - self.memory_ms else last

    # What goes wrong

    def delete(self, channel: str) -> None:
        self.trim(channel, 0)

    def trim(self, channel: str, length: int) -> None:
        self._trim(self.kept.histories.get(channel, []), length)
        self._before.clear()

    def trim_journal(self, length: int) -> None:
        """To nothing: as if it had been deleted."""
        del self.kept.journal[: len(self.kept.journal) - length]
        self._before.clear()

    def flush(self) -> None:
        for history in self.kept.histories.values():
            self._trim(history, 0)
        self.kept = Kept()
        self._before.clear()

    def fail_over(self, events: int) -> None:
        """To a replica that had not got the last `events`; new ids go on from the clock."""
        events = min(events, len(self._before))
        if not events:
            return
        old_tip, self.kept = self.tip(), self._before[-events]
        self._before.clear()
        new_tip = self.kept.journal[-1][0] if self.kept.journal else START
        self.lost_timelines.append((new_tip, old_tip))
        for event in reversed(self.log):
            if event.id <= new_tip:
                break
            event.vanished = True

    def _trim(self, history: list[Published], length: int) -> None:
        removed = len(history) - length
        for event in history[: max(removed, 0)]:
            event.removed = True
        del history[: max(removed, 0)]

    # What was so

    @property
    def memory_ms(self) -> int:
        return self._ttl_ms * MEMORY_OF_LAST

    def is_gone(self, event: Published) -> bool:
        """Whether it was ever removed from its history, or is past its time there."""
        return event.removed or event.id.ms < self._wall_ms() - self._ttl_ms

    def may_lack_memory(self, cursor: EventId) -> bool:
        """Whether the server cannot know (any more) what came after: the cursor is outside its horizon."""
        epoch = self._tip_and_epoch()[1]
        beyond = self._beyond()
        too_old = cursor.ms < self._wall_ms() - self.memory_ms and (beyond is None or cursor < beyond)
        return START < cursor < epoch or self.was_after_tip(cursor) or too_old

    def was_after_tip(self, cursor: EventId) -> bool:
        return cursor > self.tip() or any(new < cursor <= old for new, old in self.lost_timelines)

    def lost_after(self, cursor: EventId, channels: Sequence[str]) -> bool:
        """Whether something after the cursor on these channels was removed."""
        start = self.index_after(cursor)
        return any(event.entry.channel in channels and self.is_gone(event) for event in self.log[start:])

    def index_after(self, cursor: EventId) -> int:
        return bisect.bisect_right(self.log, cursor, key=lambda event: event.id)
