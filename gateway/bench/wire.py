"""From a stream's bytes to the ticks in them: chunks (RFC 9112, 7.1), and what the events hold.

What is published to many is the same bytes on every connection. So bytes that began and ended between two blocks
are remembered with what they hold, for all readers of a run, and each event of a fan-out is parsed about once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import NamedTuple

from ..event_stream import Endless, Event, EventStreamParser
from ..ids import EventId, parse_cursor
from .plan import EVENT_TYPE

REMEMBERED = 1024
"""Reads kept; when there are more, all are forgotten."""
LONGEST_REMEMBERED = 16_384
"""Bytes."""

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(;|\Z)")


class Tick(NamedTuple):
    """One of the run's events. `id` is None when events are not retained."""

    number: int
    id: EventId | None


Item = Tick | str
"""A tick, or the type of an event that is none of ours."""


class Broken(ValueError):
    """Bytes that are not a chunked body, or an event without end."""


class Reader:
    """Of one stream. `memory` is shared by all readers of a run."""

    def __init__(self, run: str, memory: dict[bytes, Sequence[Item]], *, chunked: bool) -> None:
        self.ended = False
        self._run = run
        self._memory = memory
        self._chunked = chunked
        self._rest = b""
        """The beginning of a chunk."""
        self._parser = EventStreamParser()

    def feed(self, data: bytes) -> Sequence[Item]:
        """What these bytes complete. Raises `Broken`."""
        whole = self._at_a_boundary
        if whole and (known := self._memory.get(data)) is not None:
            return known
        try:
            events = self._parser.feed(self._body(data) if self._chunked else data)
        except Endless as error:
            raise Broken(str(error)) from None
        items = [self._item(event) for event in events]
        if whole and self._at_a_boundary and not self.ended and len(data) <= LONGEST_REMEMBERED:
            if len(self._memory) >= REMEMBERED:
                self._memory.clear()
            self._memory[data] = items
        return items

    @property
    def _at_a_boundary(self) -> bool:
        return not self._rest and self._parser.at_a_boundary

    def _body(self, data: bytes) -> bytes:
        data = self._rest + data
        parts, at = [], 0
        while not self.ended and (end := data.find(b"\r\n", at)) >= 0:
            if (match := _SIZE.match(data, at, end)) is None:
                raise Broken("not a chunk")
            size = int(match[1], 16)
            begin = end + 2
            if len(data) < begin + size + 2:
                break
            self.ended = size == 0
            parts.append(data[begin : begin + size])
            at = begin + size + 2
        self._rest = b"" if self.ended else data[at:]
        return b"".join(parts)

    def _item(self, event: Event) -> Item:
        number = self._number(event.data) if event.type == EVENT_TYPE else None
        return event.type if number is None else Tick(number, parse_cursor(event.id or ""))

    def _number(self, data: str) -> int | None:
        """The number in a tick's data, if it is one of this run."""
        try:
            match json.loads(data):
                case {"run": self._run, "n": int(number)}:
                    return number
        except ValueError:
            pass
        return None
