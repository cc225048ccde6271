"""What a client was given, held against what was its due.

Rule: whenever the client's position moves on, every event between on its channels must have been received, or be
excused: removed from history before it could be given, and then a gap was told after it was published and before
the position moved past it. The position only goes back after a gap that said the cursor was none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from model.server import Published, Server

from gateway.channels import matches
from gateway.ids import START, EventId

_NUMBER = re.compile(rb'"(?:event|raw)(\d+) ')


@dataclass(frozen=True, slots=True)
class Gap:
    """A `gateway.gap` as it was written: when (s), and whether what is kept may follow from the beginning."""

    at: float
    from_the_beginning: bool


class Ledger:
    """One client's, over all its connections. `blame` is called with what should not have been."""

    def __init__(
        self,
        server: Server,
        channels: Sequence[str],
        types: Sequence[str],
        now: Callable[[], float],
        blame: Callable[[str], None],
    ) -> None:
        self._server = server
        self._channels = frozenset(channels)
        self._types = types
        self._now = now
        self._blame = blame
        self.gaps = 0
        self.events = 0
        self.begin(None)

    def begin(self, position: EventId | None, *, owed_a_gap: bool = False) -> None:
        """A client without a past: at the tip (None), at the beginning, or with a cursor of its own invention."""
        self.position = position
        self.owed_a_gap = owed_a_gap
        self._received: set[int] = set()
        self._raw: set[int] = set()
        self._next = 0
        self._excused_until = 0.0
        self._may_go_back = False

    def reconnected(self) -> None:
        self._raw.clear()

    # What the client reads

    def gap(self, gap: Gap) -> None:
        self.gaps += 1
        self.owed_a_gap = False
        self._excused_until = max(self._excused_until, gap.at)
        self._may_go_back = self._may_go_back or gap.from_the_beginning

    def event(self, id: EventId | None, event_type: str, data: bytes, written_at: float) -> None:
        match = _NUMBER.match(data)
        event = self._server.events[int(match[1])] if match else None
        if event is None or (event.entry.id, event.entry.event_type, event.entry.data) != (id, event_type, data):
            self._blame(f"was given an event that was never published: {id} {event_type} {data[:40]!r}")
            return
        self.events += 1
        if self.owed_a_gap:
            self._blame(f"was given {describe(event)} before the gap that it was owed")
        if event.entry.channel not in self._channels or not self.wants(event):
            self._blame(f"was given {describe(event)}, which is not for it")
        if id is None:
            if event.number in self._raw:
                self._blame(f"was given {describe(event)} twice")
            self._raw.add(event.number)
        else:
            self.moved(id, event, written_at)

    def moved(self, id: EventId, event: Published | None, written_at: float) -> None:
        """The client's position is `id` now; by an event, or by a block that has only an id."""
        if self.position is None:
            self.position, self._next = id, self._server.index_after(id)
            if event is not None:
                self._blame(f"was given {describe(event)} before its position")
            return
        if event is None and id == self.position:
            return  # its own cursor, handed back
        if id < self.position or (event is not None and id == self.position):
            if not self._may_go_back:
                what = f"the position {id}" if event is None else describe(event)
                self._blame(f"was given {what} when it was at {self.position} already")
            self._begin_again(written_at)
        if self.position == START:  # what is not kept any more when it begins there is not its due
            self._excused_until = max(self._excused_until, written_at)
        self._may_go_back = False
        self.position = id
        if event is not None:
            self._received.add(event.number)
        self._check_up_to(id)

    def _begin_again(self, written_at: float) -> None:
        self.position, self._next = START, 0
        self._received.clear()
        self._excused_until = max(self._excused_until, written_at)

    def _check_up_to(self, id: EventId) -> None:
        log = self._server.log
        while self._next < len(log) and log[self._next].id <= id:
            event = log[self._next]
            self._next += 1
            if event.entry.channel in self._channels and event.number not in self._received:
                self._check_excuse(event)

    def _check_excuse(self, event: Published) -> None:
        if event.vanished or not self.wants(event) or self._not_worth_replaying(event):
            return
        if not self._server.is_gone(event):
            self._blame(f"was not given {describe(event)}, which is kept")
        elif event.at > self._excused_until:
            self._blame(f"was not given {describe(event)}, which was removed, and told no gap")

    def wants(self, event: Published) -> bool:
        return not self._types or any(matches(pattern, event.entry.event_type) for pattern in self._types)

    def _not_worth_replaying(self, event: Published) -> bool:
        entry = event.entry
        if entry.ttl is not None and self._now() > event.at + entry.ttl:
            return True
        return entry.key is not None and self._server.newest_of_key[entry.channel, entry.key] != event.number


def describe(event: Published) -> str:
    entry = event.entry
    return f"event {event.number} ({entry.id or 'raw'} on {entry.channel}, published at {event.at:.3f})"
