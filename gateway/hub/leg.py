"""A stream over several partitions stands on several legs: a connection on each partition's hub, over one socket.

Each leg has its own cursor, and is brought forward by itself, since there is an order only within a partition. What
they share is the client's `Last-Event-ID`: every id written tells the positions of all. A leg writes through the
transport, never past it: of what the others left there it would not know.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..encodings import EVENT_STREAM, Encoding
from ..frames import chunk
from ..ids import START, EventId, Positions, parse_cursor
from .connection import Connection, Send, Sink
from .frame import Frame


class Legs:
    """Those of one stream, by the number of the partition; the first is the user's own."""

    def __init__(self) -> None:
        self.each: dict[int, Leg] = {}

    def positions(self, leg: Leg, cursor: EventId | None) -> Positions | None:
        """With `leg` at `cursor`; None until all are known, and while all are at the beginning."""
        at = {number: cursor if each is leg else each.settled() for number, each in self.each.items()}
        known = {number: each for number, each in at.items() if each is not None}
        if len(known) < len(at) or all(each == START for each in known.values()):
            return None
        return Positions(known.pop(next(iter(at))), known)


class Leg(Connection):
    __slots__ = ("_legs", "part_of_another")

    def __init__(
        self,
        legs: Legs,
        number: int,
        channels: Sequence[str],
        cursor: EventId | None = None,
        *,
        types: Sequence[str] = (),
        unknown: str | None = None,
        encoding: Encoding = EVENT_STREAM,
    ) -> None:
        super().__init__(channels, cursor, types=types, unknown=unknown, encoding=encoding)
        self._legs = legs
        self.part_of_another = bool(legs.each)
        legs.each[number] = self

    def attach(self, sink: Sink, *, chunked: bool, send: Send | None = None) -> None:
        super().attach(sink, chunked=chunked)
        self.plain = False

    def last_event_id(self) -> Positions | None:
        return self._legs.positions(self, self.settled())

    def settled(self) -> EventId | None:
        """Its cursor; but one that the broker does not know stays in the ids until the gap was told, for the case that
        the client comes back before."""
        return self.cursor if self.unknown is None else parse_cursor(self.unknown)

    def written_out(self, frames: Sequence[Frame]) -> bytes:
        bodies = b"".join(map(self._body, frames))
        return chunk(bodies) if self.chunked else bodies

    def _body(self, frame: Frame) -> bytes:
        """The event with the positions of all for its id, of which encodings take the text, and the time."""
        entry = frame.entry()
        if entry.id is not None:
            positions = self._legs.positions(self, entry.id)
            entry = entry._replace(id=None if positions is None else _Id(entry.id.ms, str(positions)))
        return self.encoding.event(entry)


class _Id(EventId):
    """Of an event, as it is told on several legs."""

    text: str

    def __new__(cls, ms: int, text: str) -> _Id:
        id = super().__new__(cls, ms, 0)
        id.text = text
        return id

    def __str__(self) -> str:
        return self.text
