"""The forms a stream can have: what its events, and the gateway's own words between them, look like as bytes.

Rule: an encoding is one object, shared by all connections that want it, so what it makes of an event can be shared
too. `EVENT_STREAM` is what browsers read; `LINES` is newline-delimited JSON, for clients that cannot hold an event
stream; in both an event can be its own JSON or a CloudEvent. The gateway's own events are written as all others are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Protocol

from . import cloudevents
from .events import Entry
from .frames import cursor_frame, event_frame, heartbeat_frame, retry_frame
from .ids import EventId, Positions

OWN_CHANNEL = ""
"""Of the gateway's own events, which go to one connection and are on no channel."""


class Encoding(Protocol):
    """Bytes for a stream. What is given to `event` was validated; nothing here raises."""

    content_type: str

    def __hash__(self) -> int: ...

    def event(self, entry: Entry) -> bytes: ...

    def control(self, event_type: str, data: Mapping[str, object], retry: int | None = None) -> bytes:
        """One of the gateway's own events: `gateway.gap` and the like."""
        ...

    def retry(self, milliseconds: int) -> bytes:
        """When to come back, as the first bytes of a stream."""
        ...

    def cursor(self, id: EventId | Positions) -> bytes:
        """Where the stream stands, without an event."""
        ...

    def heartbeat(self, id: EventId | Positions | None) -> bytes:
        """A sign of life, and where the stream stands, if that is known."""
        ...


class EventStream:
    """`text/event-stream`: `data` makes of an event what its `data:` lines hold."""

    content_type = "text/event-stream"
    retry = staticmethod(retry_frame)
    cursor = staticmethod(cursor_frame)
    heartbeat = staticmethod(heartbeat_frame)

    def __init__(self, data: Callable[[Entry], bytes]) -> None:
        self._data = data

    def event(self, entry: Entry) -> bytes:
        return event_frame(entry.event_type, self._data(entry), id=entry.id, retry=entry.retry)

    def control(self, event_type: str, data: Mapping[str, object], retry: int | None = None) -> bytes:
        return self.event(_own(event_type, data, retry))


class Lines:
    """`application/x-ndjson`: an event a line, as what `line` makes of it.

    Other lines are notes, JSON objects too: `{"cursor": …}`, `{"retry": …}`; a sign of life without a cursor is empty.
    """

    content_type = "application/x-ndjson"

    def __init__(self, line: Callable[[Entry], bytes]) -> None:
        self._line = line

    def event(self, entry: Entry) -> bytes:
        return self._line(entry) + b"\n"

    def control(self, event_type: str, data: Mapping[str, object], retry: int | None = None) -> bytes:
        return self.event(_own(event_type, data, retry))

    def retry(self, milliseconds: int) -> bytes:
        return b'{"retry":%d}\n' % milliseconds

    def cursor(self, id: EventId | Positions) -> bytes:
        return b'{"cursor":"%b"}\n' % str(id).encode()

    def heartbeat(self, id: EventId | Positions | None) -> bytes:
        return b"\n" if id is None else self.cursor(id)


def _own(event_type: str, data: Mapping[str, object], retry: int | None) -> Entry:
    text = json.dumps(data, separators=(",", ":")).encode()
    return Entry(OWN_CHANNEL, None, event_type, text, retry=retry)


def _data(entry: Entry) -> bytes:
    return entry.data


def _object(entry: Entry) -> bytes:
    id = b"null" if entry.id is None else b'"%b"' % str(entry.id).encode()
    retry = b"" if entry.retry is None else b',"retry":%d' % entry.retry
    return b'{"id":%b,"event_type":"%b"%b,"data":%b}' % (id, entry.event_type.encode(), retry, entry.data)


EVENT_STREAM: Encoding = EventStream(_data)
EVENT_STREAM_OF_CLOUDEVENTS: Encoding = EventStream(cloudevents.written)
LINES: Encoding = Lines(_object)
LINES_OF_CLOUDEVENTS: Encoding = Lines(cloudevents.written)
