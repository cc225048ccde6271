"""A client's connection to a gateway process, both of its ends.

On the gateway's side it does what `gateway/web/stream.py` does around the relay, without HTTP: wait a while for a
position, first bytes, hand over the cursor, serve, leave. What is written is looked at here: gaps must have a
reason, buffers a bound.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import Protocol

from model.client import Client, Reader, gap_in
from model.ledger import Gap
from model.server import Server
from model.sockets import Pace, Socket

from gateway.events import Entry
from gateway.frames import retry_frame
from gateway.guide import Guide
from gateway.hub import CloseReason, Connection, State
from gateway.ids import START, parse_cursor
from gateway.relay import Relay

WAIT_FOR_POSITION = 2.0
CONTROL_BYTES = 1_000
"""What the gateway's own frames may add to a full buffer."""

SOON = 0.5
CLOSED_WITHIN = 2.0
_RAW = re.compile(rb'"(raw\d+) ')


class Owner(Protocol):
    """What a stream needs of its process."""

    relay: Relay
    server: Server
    max_buffer: int

    def next_number(self) -> int: ...

    def blame(self, what: str) -> None: ...

    def left(self, stream: Stream) -> None: ...


class Numbered(Connection):
    """Hashed by its number, so that sets of connections are in the same order whenever a script is run."""

    __slots__ = ("number",)

    def __init__(self, number: int, channels: Sequence[str], cursor: str | None, types: Sequence[str]) -> None:
        parsed = None if cursor is None else parse_cursor(cursor)
        unknown = cursor if parsed is None else None
        super().__init__(channels, START if unknown is not None else parsed, types=types, unknown=unknown)
        self.number = number

    def __hash__(self) -> int:
        return self.number


class Stream(Guide):
    """A client's connection to a process, both of its ends."""

    def __init__(self, process: Owner, client: Client, pace: Pace, ended: Callable[[Stream], None]) -> None:
        listening = client.listening
        connection = Numbered(process.next_number(), listening.channels, client.cursor, listening.types)
        super().__init__(process.relay, connection)
        self.process = process
        self.client = client
        self.reader = Reader(client.ledger, chunked=listening.chunked, blame=self._blame)
        self.socket = Socket(process.max_buffer, pace, self.reader.feed, self._ended)
        self._on_end = ended
        self._allowed = 0
        self._closing_since: float | None = None
        self._raw_written: set[bytes] = set()
        self._rest: list[Gap | None] = []
        self._raw_due: list[tuple[float, int, bytes]] = []
        self._handler = asyncio.create_task(self._run(), name=f"stream of client {client.number}")
        self._handler.add_done_callback(self._handed_over)
        client.ledger.reconnected()

    # What the gateway does

    async def _run(self) -> None:
        connection, chunked = self.connection, self.client.listening.chunked
        positioned = await self._positioned_soon()
        connection.attach(self, chunked=chunked, send=self.send)
        connection.put(retry_frame(3000))
        connection.put_position()
        self.begin(positioned=positioned)

    async def _positioned_soon(self) -> bool:
        try:
            async with asyncio.timeout(WAIT_FOR_POSITION):
                await self.relay.open(self.connection)
        except TimeoutError:
            return False
        return True

    async def drained(self) -> None:
        await self.socket.drained()

    def ended(self, reason: CloseReason) -> None:
        self._leave()
        if reason is CloseReason.FAILED:
            self._blame("had its stream fail")
        if reason in (CloseReason.STALLED, CloseReason.FAILED):
            self.socket.abort()
        else:
            self.socket.finish()

    def _handed_over(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            self._leave()
        elif (error := task.exception()) is not None:
            self._leave()
            self._blame(f"had its stream fail: {error!r}")

    def _leave(self) -> None:
        self.relay.leave(self.connection)
        self.process.left(self)

    def cancel(self) -> None:
        """The process saw that the client left."""
        if not self._handler.done():
            self._handler.cancel()
        elif self.connection.guide is not None:
            self.forget()
            self._leave()

    # The sink

    def write(self, data: bytes, /) -> None:
        if self._rest:  # of what `send` did not take whole: looked at then
            self._hand_on(data, self._rest.pop())
        else:
            self._hand_on(data, self._looked_at(data))

    def send(self, data: bytes, /) -> int:
        """Past the buffer: as much as the kernel takes, and only while nothing waits."""
        if waiting := self.socket.get_write_buffer_size():
            self._blame(f"has {waiting} bytes in its buffer, and was sent {len(data)} past them")
        if not (room := self.socket.room):
            raise BlockingIOError
        gap = self._looked_at(data)
        self._hand_on(data[:room], gap)
        if len(data) > room:
            self._rest.append(gap)
        return min(room, len(data))

    def _looked_at(self, data: bytes) -> Gap | None:
        """What a write holds, while it is whole: a socket may take it in two pieces."""
        if b'"raw' in data:
            self._raw_written.update(_RAW.findall(data))
        requested = gap_in(data)
        return None if requested is None else self._judged(requested)

    def _hand_on(self, data: bytes, gap: Gap | None) -> None:
        if not (waiting := self.socket.get_write_buffer_size()):
            self._allowed = max(self.process.max_buffer, len(data)) + CONTROL_BYTES
        elif waiting + len(data) > self._allowed:
            self._blame(f"has {waiting} bytes in its buffer, and was written {len(data)} more")
        self.reader.wrote(len(data), asyncio.get_running_loop().time(), gap)
        self.socket.write(data)

    def get_write_buffer_size(self) -> int:
        return self.socket.get_write_buffer_size()

    def _judged(self, requested: str) -> Gap:
        """A gap must have a reason, in the cursor or in what was removed after it."""
        server, cursor = self.process.server, parse_cursor(requested)
        now = asyncio.get_running_loop().time()
        if cursor is None:
            if requested != self.connection.unknown:
                self._blame(f"was told a gap after {requested!r}, which it never sent")
            return Gap(now, True)
        outside = server.may_lack_memory(cursor)
        if not outside and not server.lost_after(cursor, self.connection.channels):
            self._blame(f"was told a false gap: nothing after {cursor} was removed")
        return Gap(now, outside)

    # The world's side

    def hang_up(self) -> None:
        """The client is gone; the process may not know yet."""
        self.reader.close()
        self.socket.hang_up()

    def raw_announced(self, entry: Entry) -> None:
        """One that is not kept is due to whoever is live now, and stays so until it is written."""
        connection = self.connection
        heard = entry.channel in connection.channels and connection.wants(entry.event_type)
        if heard and connection.state is State.LIVE:
            now = asyncio.get_running_loop().time()
            self._raw_due += [(now, connection.seen_serial, mark) for mark in _RAW.findall(entry.data)]

    def check(self, now: float) -> None:
        connection, due, self._raw_due = self.connection, self._raw_due, []
        for at, seen_serial, mark in due:
            if now < at + SOON:
                self._raw_due.append((at, seen_serial, mark))
            elif connection.state is not State.LIVE or connection.seen_serial != seen_serial:
                continue  # it fell behind
            elif mark not in self._raw_written:
                self._blame(f"was live, and was not given {mark.decode()}")
        if connection.close_reason is not None:
            self._closing_since = self._closing_since or now
            if now > self._closing_since + CLOSED_WITHIN:
                self._blame(
                    f"is still there, though closed ({connection.close_reason}) {now - self._closing_since:.1f} s ago"
                )

    def _ended(self) -> None:
        self.reader.close()
        self._on_end(self)

    def _blame(self, what: str) -> None:
        self.process.blame(f"client {self.client.number} {what}")
