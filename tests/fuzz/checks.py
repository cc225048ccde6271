"""What must hold of a stream's bytes, whoever wrote the event in them."""

from __future__ import annotations

import json

from gateway.event_stream import Endless, Event, EventStreamParser
from gateway.events import Entry

LONGEST = 1000


def one_event(frame: bytes, entry: Entry, *, data: bytes | None = b"") -> None:
    """A client reads the frame as one event of this type, with this id; `data` None: with other data."""
    parser = EventStreamParser()
    events = parser.feed(frame)
    assert len(events) == 1, events
    assert parser.ignored == [] and parser.comments == 0 and parser.at_a_boundary
    assert events[0].type == entry.event_type
    assert parser.last_event_id == ("" if entry.id is None else str(entry.id))
    assert parser.retry == entry.retry
    if data is not None:
        assert events[0].data == entry.data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")


def one_line(line: bytes, entry: Entry, *, cloudevent: bool = False) -> None:
    """A client reads it as one JSON object, with these fields."""
    assert line.endswith(b"\n")
    assert len(line.splitlines()) == len(line.decode().splitlines()) == 1
    told = json.loads(line)
    assert told["data_base64" if told.get("data_base64") is not None and cloudevent else "data"] == json.loads(
        entry.data
    )
    if cloudevent:
        assert told["specversion"] == "1.0" and told["type"] == entry.event_type
        assert told.get("cursor") == (None if entry.id is None else str(entry.id))
    else:
        assert told["event_type"] == entry.event_type
        assert told["id"] == (None if entry.id is None else str(entry.id))


def same_however_cut(data: bytes) -> None:
    """Whole, byte by byte, and in two pieces: the same events, ids and retry, where it is not given up."""
    middle = len(data) // 2
    ways = ([data], [data[at : at + 1] for at in range(len(data))], [data[:middle], b"", data[middle:]])
    read = [what for pieces in ways if (what := _read(pieces)) is not None]
    assert all(what == read[0] for what in read)


def _read(pieces: list[bytes]) -> tuple[list[Event], str, int | None] | None:
    """None when it gave up: of a line that is too long it may or may not have seen the end."""
    parser = EventStreamParser(longest=LONGEST)
    events: list[Event] = []
    try:
        for piece in pieces:
            events += parser.feed(piece)
    except Endless:
        return None
    return events, parser.last_event_id, parser.retry
