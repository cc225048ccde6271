"""A connection is a cursor over an ordered history.

`cursor` is the last event id given to the client. While the connection is *live* the hub writes to it whatever
is dispatched on its channels; in every other state nobody queues anything for it, and the relay brings its cursor
forward from history. So what waits for a client is bounded by its socket's buffer, whatever it does.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

from ..channels import matches
from ..encodings import EVENT_STREAM, Encoding
from ..frames import chunk
from ..ids import START, EventId, Positions
from .frame import Frame, join, join_as


class State(enum.StrEnum):
    """`catching_up` → `live` ⇄ `behind`, and in the end `closed`."""

    CATCHING_UP = "catching_up"
    LIVE = "live"
    BEHIND = "behind"
    CLOSED = "closed"


class Cause(enum.StrEnum):
    """Why a connection is to be caught up; a label of `gateway_catch_ups_total`."""

    NEW = "new"
    """It came without a cursor."""
    RESUMED = "resumed"
    """It came with one."""
    SLOW = "slow"
    """It read too slowly, and fell behind."""
    LINK = "link"
    """The link to the broker was lost, and the tails cannot tell what it missed."""


class CloseReason(enum.StrEnum):
    """Why a stream ended; the label of `gateway_connections_closed_total`."""

    CLIENT_LEFT = "client_left"
    EXPIRED = "token_expired"
    AGE = "max_connection_age"
    DRAINING = "draining"
    REVOKED = "revoked"
    """Its user was sent away."""
    STALLED = "stalled"
    """It took nothing for `GATEWAY_SEND_TIMEOUT`."""
    SLOW = "slow"
    """It fell behind, and without retention there is no history to serve it from."""
    FAILED = "failed"
    """The gateway's fault; the log has the traceback."""


Send = Callable[[bytes], int]
"""A non-blocking socket's `send`: how many bytes it took; `OSError` when it takes none."""


class Sink(Protocol):
    """What a connection needs of its transport; an `asyncio.Transport` is one."""

    def write(self, data: bytes, /) -> None: ...

    def get_write_buffer_size(self) -> int: ...


class Guide(Protocol):
    """Whoever sees to it that a connection is brought forward, and ends."""

    def wake(self) -> None:
        """Look at it soon: it fell behind, or was closed. Called from within the hub: nothing may be written now."""


class Written(NamedTuple):
    """What one `give` put on the wire; both 0 when nothing was new or wanted."""

    events: int
    size: int


REMEMBERED_WISHES = 1024


@lru_cache(REMEMBERED_WISHES)
def _wanted(types: tuple[str, ...], event_type: str) -> bool:
    """Many clients have the same filter, which may be long: a category of a catalogue is all of its event types."""
    return any(matches(pattern, event_type) for pattern in types)


class Connection:
    """One client's stream. Writable once `attach`ed to its socket; the hub moves it between states.

    channels  what it listens to
    cursor    the last id given to the client; None means "begin at the tip"
    unknown   what the client sent as a cursor and is none; it is told a gap
    types     event types wanted (exact, or `prefix.*`); none given means all
    encoding  the form of its stream
    """

    __slots__ = (
        "buffered",
        "cause",
        "channels",
        "chunked",
        "clear",
        "close_reason",
        "cursor",
        "encoding",
        "guide",
        "plain",
        "seen_serial",
        "send",
        "sent_at",
        "sink",
        "state",
        "types",
        "unknown",
    )

    sink: Sink
    send: Send | None
    buffered: Callable[[], int]

    part_of_another = False
    """Whether it is a leg of a stream that is counted elsewhere."""

    def __init__(
        self,
        channels: Sequence[str],
        cursor: EventId | None = None,
        *,
        types: Sequence[str] = (),
        unknown: str | None = None,
        encoding: Encoding = EVENT_STREAM,
    ) -> None:
        self.channels = tuple(dict.fromkeys(channels))
        self.cursor = cursor
        self.types = tuple(types)
        self.unknown = unknown
        self.encoding = encoding
        self.state = State.CATCHING_UP
        self.cause = Cause.NEW if cursor is None else Cause.RESUMED
        self.close_reason: CloseReason | None = None
        self.guide: Guide | None = None
        self.chunked = self.plain = self.clear = False
        self.seen_serial = 0
        self.sent_at = 0.0

    def attach(self, sink: Sink, *, chunked: bool, send: Send | None = None) -> None:
        """The transport to write to.

        `send` is the way past the transport, straight to the socket: taken while the connection is *clear*, that is
        while nothing waits in the transport's buffer. `chunked` is False for HTTP/1.0, where the body ends with the
        connection.
        """
        self.sink = sink
        self.send = send
        self.buffered = sink.get_write_buffer_size
        self.chunked = chunked
        self.plain = chunked and not self.types and self.encoding is EVENT_STREAM
        self.clear = send is not None and not self.buffered()
        self.sent_at = asyncio.get_running_loop().time()

    def forget_cursor(self) -> None:
        """The broker does not know it: begin at the beginning, and say so."""
        self.unknown, self.cursor = str(self.cursor), START

    def write(self, data: bytes) -> None:
        """Straight to the socket while the connection is clear."""
        if self.clear:
            try:
                sent = self.send(data)  # type: ignore[misc]
            except OSError:  # full, or broken: the transport will find out which
                sent = 0
            if sent == len(data):
                return
            data = data[sent:]
        self.hand_over(data)

    def hand_over(self, data: bytes) -> None:
        """To the transport, which keeps what the socket does not take."""
        self.sink.write(data)
        self.clear = self.send is not None and not self.buffered()

    def put(self, body: bytes) -> None:
        """Write what is the gateway's own: the three below, and the beginning of a stream."""
        self.write(chunk(body) if self.chunked else body)

    def tell(self, event_type: str, data: Mapping[str, object], retry: int | None = None) -> None:
        """Write one of the gateway's own events."""
        self.put(self.encoding.control(event_type, data, retry))

    def beat(self, id: EventId | Positions | None) -> None:
        """Write a sign of life."""
        self.put(self.encoding.heartbeat(id))

    def put_position(self) -> None:
        """Write the cursor, where there is one yet, for the client to come back with."""
        if position := self.position():
            self.put(position)

    def position(self) -> bytes:
        return b"" if (id := self.last_event_id()) is None else self.encoding.cursor(id)

    def last_event_id(self) -> EventId | Positions | None:
        """What the client is to come back with; None while there is nothing yet."""
        return None if self.cursor == START else self.cursor

    def say(self, event_type: str, data: Mapping[str, object], retry: int | None = None) -> None:
        """`tell`, where it can be: to a socket that is there, and not in the way of a slow client's events."""
        if hasattr(self, "sink") and self.close_reason is None:
            self.tell(event_type, data, retry)

    def wants(self, event_type: str) -> bool:
        return not self.types or _wanted(self.types, event_type)

    def give(self, frames: Sequence[Frame], limit: int) -> Written | None:
        """Write those that are new to this client and wanted, in one write, and move the cursor past all.

        None, and nothing done, when that would let more than `limit` bytes wait in the socket. A single write
        to an empty socket is always taken, so that a large event cannot lock a connection.
        """
        cursor = self.cursor
        new = [f for f in frames if f.id is None or cursor is None or f.id > cursor]
        wanted = new if not self.types else [f for f in new if self.wants(f.event_type)]
        data = b""
        if wanted:
            data = self.written_out(wanted)
            if not self.clear and (waiting := self.buffered()) and waiting + len(data) > limit:
                return None
            self.write(data)
        for frame in reversed(new):
            if frame.id is not None:
                self.cursor = frame.id
                break
        return Written(len(wanted), len(data))

    def written_out(self, frames: Sequence[Frame]) -> bytes:
        if self.chunked and self.encoding is EVENT_STREAM:
            return join(frames)
        return join_as(frames, self.encoding, chunked=self.chunked)

    def close(self, reason: CloseReason) -> None:
        """End the stream; the first reason given is the one that is told."""
        if self.close_reason is None:
            self.close_reason = reason
            self.wake()

    def wake(self) -> None:
        """Have its guide look at it, where it has one yet, or still."""
        if self.guide is not None:
            self.guide.wake()
