"""Event ids and cursors.

An event id is a Redis stream id, `<milliseconds>-<sequence>`: assigned once, by the broker, increasing over
all channels of a partition. A cursor is the last event id a connection was given, so the two share a type.
What a client sends as `Last-Event-ID` is hostile until `parse_cursor` has read it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from .errors import InvalidRequest

_STREAM_ID = re.compile(r"(0|[1-9][0-9]{0,15})-(0|[1-9][0-9]{0,9})", re.ASCII)


class EventId(NamedTuple):
    """`ms` since the epoch and a sequence within it; compares in publish order."""

    ms: int
    seq: int

    def __str__(self) -> str:
        return f"{self.ms}-{self.seq}"

    @classmethod
    def parse(cls, text: str) -> EventId:
        """Read an id in canonical form. Raises `InvalidRequest` for anything else."""
        match = _STREAM_ID.fullmatch(text)
        if match is None:
            raise InvalidRequest("not an event id; the form is <milliseconds>-<sequence>", field="id")
        return cls(int(match[1]), int(match[2]))


START = EventId(0, 0)
"""Before every event: the cursor of a client that asks for all that is kept."""

EARLIEST = "earliest"
"""What a client sends as its cursor to be given all that is kept."""


def parse_cursor(text: str) -> EventId | None:
    """The cursor in a `Last-Event-ID`, or `None` when it is no cursor at all (the client is told a gap)."""
    if text == EARLIEST:
        return START
    match = _STREAM_ID.fullmatch(text)
    return EventId(int(match[1]), int(match[2])) if match else None


class Positions(NamedTuple):
    """The cursor of a stream over several partitions: that of its user's own, and of others by their number."""

    own: EventId
    others: Mapping[int, EventId]

    def __str__(self) -> str:
        return ",".join([str(self.own), *(f"{number}:{id}" for number, id in sorted(self.others.items()))])


MOST_OTHERS = 7
"""Other partitions in a stream: with more, an id could be longer than the 256 bytes that clients take."""

_OTHER = rf",(0|[1-9][0-9]{{0,2}}):({_STREAM_ID.pattern})"
_POSITIONS = re.compile(rf"({_STREAM_ID.pattern})((?:{_OTHER}){{0,{MOST_OTHERS}}})", re.ASCII)


def parse_positions(text: str) -> Positions | None:
    """The positions in a `Last-Event-ID`, or `None` when they are none: `<id>[,<partition>:<id>]...`, ascending."""
    if text == EARLIEST:
        return Positions(START, {})
    match = _POSITIONS.fullmatch(text)
    if match is None:
        return None
    own, *others = match[0].split(",")
    pairs = [(int(number), EventId.parse(id)) for number, _, id in (other.partition(":") for other in others)]
    numbers = [number for number, _ in pairs]
    return Positions(EventId.parse(own), dict(pairs)) if numbers == sorted(set(numbers)) else None
