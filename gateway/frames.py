"""Event -> bytes, by the WHATWG rules (HTML, 9.2.5 "Parsing an event stream").

Everything that reaches the wire is written here, so this is where forging is impossible: `event` and `id` match
a grammar without line ends, and every line of `data` gets its own `data:`. A line ends at CR, LF or CRLF; a BOM,
NUL or U+2028 within data is an ordinary character.
"""

from __future__ import annotations

import re

from .events import EVENT_TYPE
from .ids import EventId, Positions

_LINE_END = re.compile(rb"\r\n|\r|\n")


def event_frame(event_type: str, data: bytes, *, id: EventId | None = None, retry: int | None = None) -> bytes:
    """One event block. `data` is UTF-8 of any content; raises `ValueError` for an `event_type` off the grammar."""
    if EVENT_TYPE.fullmatch(event_type) is None:
        raise ValueError("event_type holds a character that the event stream cannot carry")
    if b"\n" in data or b"\r" in data:
        data = _LINE_END.sub(b"\ndata: ", data)
    head = f"id: {id}\n" if id is not None else ""
    if retry is not None:
        head += f"retry: {retry:d}\n"
    return b"%bevent: %b\ndata: %b\n\n" % (head.encode(), event_type.encode(), data)


def retry_frame(milliseconds: int) -> bytes:
    """The reconnection time, as the first bytes of a stream."""
    return b"retry: %d\n\n" % milliseconds


def cursor_frame(id: EventId | Positions) -> bytes:
    """A block with only an id: it moves the client's Last-Event-ID and dispatches nothing."""
    return b"id: %b\n\n" % str(id).encode()


def heartbeat_frame(id: EventId | Positions | None) -> bytes:
    """A comment, which no client dispatches; with the tip's id a quiet client's cursor stays young."""
    return b":\n\n" if id is None else b":\nid: %b\n\n" % str(id).encode()


def chunk(body: bytes) -> bytes:
    """`body` as one chunk of a chunked HTTP/1.1 message (RFC 9112, 7.1). Chunks may be joined freely."""
    return b"%x\r\n%b\r\n" % (len(body), body)
