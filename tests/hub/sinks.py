"""Sockets and entries for tests of the hub. Every entry carries a number as its data, so that a test names them."""

from __future__ import annotations

from collections.abc import Sequence

from hub.chunks import dechunked

from gateway.event_stream import Event, EventStreamParser
from gateway.events import Entry
from gateway.hub import Advance, Connection, Hub, State
from gateway.ids import EventId


class Woken:
    """A guide that only remembers that it was woken."""

    def __init__(self) -> None:
        self.woken = False

    def wake(self) -> None:
        self.woken = True


def woken(connection: Connection) -> bool:
    """Whether its guide was woken since it was last asked."""
    guide = connection.guide
    assert isinstance(guide, Woken)
    was, guide.woken = guide.woken, False
    return was


class RecordingSink:
    """Keeps what is written. A client that reads takes it at once; a stalled one lets it wait in the buffer."""

    def __init__(self, *, stalled: bool = False) -> None:
        self.writes: list[bytes] = []
        self.stalled = stalled
        self.waiting = 0

    def write(self, data: bytes, /) -> None:
        self.writes.append(data)
        if self.stalled:
            self.waiting += len(data)

    def send(self, data: bytes, /) -> int:
        """As a socket's: nothing while the client is stalled."""
        assert not self.waiting, "sent past what waits"
        if self.stalled:
            raise BlockingIOError
        self.write(data)
        return len(data)

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def read(self) -> None:
        """The client reads on."""
        self.stalled, self.waiting = False, 0

    def stream(self, *, chunked: bool = True) -> bytes:
        """The body so far."""
        written = b"".join(self.writes)
        return b"".join(dechunked(written)) if chunked else written

    def parsed(self, *, chunked: bool = True) -> tuple[EventStreamParser, list[Event]]:
        parser = EventStreamParser()
        events = parser.feed(self.stream(chunked=chunked))
        assert parser.ignored == []
        return parser, events

    def received(self, *, chunked: bool = True) -> list[int]:
        """The numbers of the entries that the client was given, in order."""
        return [int(event.data) for event in self.parsed(chunked=chunked)[1]]


def entry(
    number: int,
    channel: str = "user:a",
    event_type: str = "t",
    *,
    retained: bool = True,
    size: int = 0,
    ttl: float | None = None,
    key: str | None = None,
) -> Entry:
    """Number `n` has the id `n-0` when it is retained. `size` pads the data."""
    id = EventId(number, 0) if retained else None
    return Entry(channel, id, event_type, str(number).rjust(size).encode(), ttl=ttl, key=key)


def joined(
    hub: Hub,
    *channels: str,
    cursor: EventId | None = None,
    types: Sequence[str] = (),
    stalled: bool = False,
    chunked: bool = True,
    straight: bool = True,
) -> tuple[Connection, RecordingSink]:
    """A connection that is registered and attached, with its channels announced from the tip on. Not yet live."""
    connection = Connection(channels or ("user:a",), hub.tip if cursor is None else cursor, types=types)
    sink = RecordingSink(stalled=stalled)
    hub.join(connection)
    connection.guide = Woken()
    connection.attach(sink, chunked=chunked, send=sink.send if straight else None)
    announced_since(hub, connection, hub.tip)
    return connection, sink


def announced_since(hub: Hub, connection: Connection, tip: EventId) -> None:
    """What the relay does when it has read the tip, or a page of history."""
    for name in connection.channels:
        if hub.channels[name].floor is None:
            hub.channels[name].floor = tip


def live(
    hub: Hub,
    *channels: str,
    cursor: EventId | None = None,
    types: Sequence[str] = (),
    stalled: bool = False,
    chunked: bool = True,
    straight: bool = True,
) -> tuple[Connection, RecordingSink]:
    """A connection at the tip."""
    connection, sink = joined(
        hub, *channels, cursor=cursor, types=types, stalled=stalled, chunked=chunked, straight=straight
    )
    assert hub.advance(connection) is Advance.LIVE
    assert connection.state is State.LIVE
    return connection, sink


def dispatch(hub: Hub, *entries: Entry) -> None:
    """Dispatch and flush: what a turn of the loop comes to."""
    for item in entries:
        hub.dispatch(item)
    hub.flush()
