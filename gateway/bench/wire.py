"""From a stream's bytes to the ticks in them (RFC 9112, 7.1; WHATWG HTML, 9.2.6).

What is published to many is the same bytes on every connection. So bytes that began and ended between two blocks
are remembered with what they hold, for all readers of a run, and each event of a fan-out is parsed about once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from ..ids import EventId, parse_cursor
from .plan import EVENT_TYPE

REMEMBERED = 1024
"""Reads kept; when there are more, all are forgotten."""
LONGEST_REMEMBERED = 16_384
"""Bytes."""


class Tick(NamedTuple):
    """One of the run's events. `id` is None when events are not retained."""

    number: int
    id: EventId | None


Item = Tick | str
"""A tick, or the type of an event that is none of ours."""


class Broken(ValueError):
    """Bytes that are not a chunked body."""


class Reader:
    """Of one stream. `memory` is shared by all readers of a run."""

    def __init__(self, run: str, memory: dict[bytes, Sequence[Item]], *, chunked: bool) -> None:
        self.ended = False
        self._run = run
        self._memory = memory
        self._chunked = chunked
        self._rest = b""
        """The beginning of a chunk."""
        self._block = b""
        """The beginning of an event."""

    def feed(self, data: bytes) -> Sequence[Item]:
        """What these bytes complete. Raises `Broken`."""
        whole = not self._rest and not self._block
        if whole and (known := self._memory.get(data)) is not None:
            return known
        blocks = (self._block + (self._body(data) if self._chunked else data)).split(b"\n\n")
        self._block = blocks.pop()
        items = [item for block in blocks if (item := self._item(block)) is not None]
        whole = whole and not (self._rest or self._block or self.ended)
        if whole and len(data) <= LONGEST_REMEMBERED:
            if len(self._memory) >= REMEMBERED:
                self._memory.clear()
            self._memory[data] = items
        return items

    def _body(self, data: bytes) -> bytes:
        data = self._rest + data
        parts, at = [], 0
        while not self.ended and (end := data.find(b"\r\n", at)) >= 0:
            try:
                size = int(data[at:end].partition(b";")[0], 16)
            except ValueError:
                raise Broken("not a chunk") from None
            begin = end + 2
            if len(data) < begin + size + 2:
                break
            self.ended = size == 0
            parts.append(data[begin : begin + size])
            at = begin + size + 2
        self._rest = b"" if self.ended else data[at:]
        return b"".join(parts)

    def _item(self, block: bytes) -> Item | None:
        id, event_type, data = None, "message", b""
        for line in block.split(b"\n"):
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if name == b"event":
                event_type = value.decode("utf-8", "replace")
            elif name == b"data":
                data += value
            elif name == b"id":
                id = parse_cursor(value.decode("utf-8", "replace"))
        if not data:
            return None  # a comment, a retry time or a cursor
        number = self._number(data) if event_type == EVENT_TYPE else None
        return event_type if number is None else Tick(number, id)

    def _number(self, data: bytes) -> int | None:
        """The number in a tick's data, if it is one of this run."""
        try:
            match json.loads(data):
                case {"run": self._run, "n": int(number)}:
                    return number
        except ValueError:
            pass
        return None
