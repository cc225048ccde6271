"""Fan-out: one dispatched event to every live connection of its channel.

Rule: everything here is a plain `def`. Nothing is awaited between looking at connections and writing to them, so
there is nothing to lock. Frames of one turn, or of one join window when busy, go to each connection in one write;
when they are all of one channel, those bytes are joined once and shared by all.
"""

from __future__ import annotations

import asyncio
import enum
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence

from ..events import Entry
from ..ids import START, EventId
from .channel import Channel
from .connection import Cause, CloseReason, Connection, State
from .frame import Frame, join, worth_replaying
from .stats import HubStats


class Advance(enum.Enum):
    """What a connection needs next: nothing (it is live), room in its socket, or history."""

    LIVE = enum.auto()
    FULL = enum.auto()
    NEEDS_HISTORY = enum.auto()


class Hub:
    """Connections by channel.

    max_buffer   bytes that may wait in one connection's socket before it is behind
    join_window  seconds of frames to join when busy; the first event after a quiet window goes at once
    tail_bytes   recent frames kept by the whole process, oldest forgotten first
    now_ms       the clock that ids are made of, where it is known: how late events are is told by it
    """

    def __init__(
        self,
        *,
        max_buffer: int = 262_144,
        join_window: float = 0.002,
        tail_bytes: int = 2**25,
        now_ms: Callable[[], float | None] = lambda: None,
    ) -> None:
        self.channels: dict[str, Channel] = {}
        self.connections: set[Connection] = set()
        self._parts = 0  # of them, those of streams that are counted elsewhere
        self.tip = START
        self.serial = 0
        self.stats = HubStats()
        self._max_buffer = max_buffer
        self._write_at_most = max_buffer // 4  # and one event: a write always fits a socket below its high-water mark
        self._join_window = join_window
        self._tail_bytes = tail_bytes
        self._now_ms = now_ms
        self._recent: deque[tuple[Channel, Frame]] = deque()
        self._recent_bytes = 0
        self._waiting: list[tuple[Channel, Frame]] = []
        self._waiting_bytes = 0
        self._flush_handle: asyncio.Handle | None = None
        self._flushed_at = 0.0

    @property
    def streams(self) -> int:
        return len(self.connections) - self._parts

    # Membership

    def join(self, connection: Connection) -> None:
        """Register on all its channels; nothing is written before it went live. Joining twice is joining once."""
        if connection in self.connections:
            return
        self.connections.add(connection)
        self._parts += connection.part_of_another
        connection.seen_serial = self.serial
        for name in connection.channels:
            channel = self.channels.get(name)
            if channel is None:
                channel = self.channels[name] = Channel(name)
            channel.members += 1

    def leave(self, connection: Connection) -> list[str]:
        """Deregister; returns the channels that have nobody left. Leaving twice is leaving once."""
        if connection not in self.connections:
            return []
        self.connections.discard(connection)
        self._parts -= connection.part_of_another
        self._not_live(connection, State.CLOSED)
        emptied = []
        for name in connection.channels:
            channel = self.channels[name]
            channel.members -= 1
            if not channel.members:
                emptied.append(name)
        return emptied

    def close(self, name: str | None, reason: CloseReason) -> None:
        """End the streams of a channel, whatever state they are in; without a name, all."""
        for connection in list(self.connections):
            if name is None or name in connection.channels:
                connection.close(reason)

    def drop(self, name: str) -> bool:
        """Forget a channel; False when somebody joined it again."""
        channel = self.channels.get(name)
        if channel is not None and channel.members:
            return False
        self.channels.pop(name, None)
        return True

    # Dispatch

    def dispatch(self, entry: Entry) -> None:
        """Entries come in id order. Writes happen at the end of the turn, or of the join window."""
        self.stats.dispatched += 1
        if entry.id is not None:
            self.tip = entry.id
        channel = self.channels.get(entry.channel)
        if channel is None:
            return
        self.serial += 1
        frame = Frame(entry, self.serial)
        channel.append(frame)
        self._remember(channel, frame)
        if channel.live:
            self._waiting.append((channel, frame))
            self._waiting_bytes += len(frame.chunk)
            if self._waiting_bytes > self._write_at_most:
                self.flush()
            elif self._flush_handle is None:
                self._schedule_flush()

    def flush(self) -> None:
        """Write what waits, now."""
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush_handle = None
        if not self._waiting:
            return
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        now = self._flushed_at = asyncio.get_running_loop().time()
        channel = waiting[0][0]
        if all(other is channel for other, _ in waiting):
            self._write_shared(channel, [frame for _, frame in waiting], now)
        else:
            self._write_each(waiting, now)
        self._measure(waiting, now)

    def _measure(self, written: list[tuple[Channel, Frame]], began: float) -> None:
        """Once for a flush, never for each event or delivery: when busy, a join window is between two of them."""
        self.stats.fan_out.observe(asyncio.get_running_loop().time() - began)
        oldest = written[0][1].id
        if oldest is not None and (now_ms := self._now_ms()) is not None:
            self.stats.late.observe(max(now_ms - oldest.ms, 0) / 1000)

    def _schedule_flush(self) -> None:
        loop = asyncio.get_running_loop()
        wait = self._flushed_at + self._join_window - loop.time()
        self._flush_handle = loop.call_later(wait, self.flush) if wait > 0 else loop.call_soon(self.flush)

    def _write_shared(self, channel: Channel, frames: list[Frame], now: float) -> None:
        """The same bytes to everyone on one channel: the hot loop.

        Straight to the socket where nothing waits in the transport: `transport.write`, and asking it how much waits,
        cost a fifth of a `send`.
        """
        data = join(frames)
        size = len(data)
        ids = [frame.id for frame in frames if frame.id is not None]
        first, last = (ids[0], ids[-1]) if ids else (None, None)
        delivered = 0
        late: list[Connection] = []
        for connection in channel.live:
            if not connection.plain or (first is not None and connection.cursor >= first):  # type: ignore[operator]
                if not self._write(connection, frames, now):
                    late.append(connection)
                continue
            if connection.clear:
                try:
                    sent = connection.send(data)  # type: ignore[misc]
                except OSError:  # full, or broken: the transport will find out which
                    sent = 0
                if sent != size:
                    connection.hand_over(data[sent:])
            elif (waiting := connection.buffered()) and waiting + size > self._max_buffer:
                late.append(connection)
                continue
            else:
                connection.hand_over(data)
            connection.sent_at = now
            if last is not None:
                connection.cursor = last
            delivered += 1
        self.stats.delivered += delivered * len(frames)
        self.stats.delivered_bytes += delivered * len(data)
        for connection in late:
            self._fall_behind(connection, frames[0])

    def _write_each(self, waiting: list[tuple[Channel, Frame]], now: float) -> None:
        """Several channels at once: to each connection what is its own, in dispatch order."""
        due: defaultdict[Connection, list[Frame]] = defaultdict(list)
        for channel, frame in waiting:
            for connection in channel.live:
                due[connection].append(frame)
        for connection, frames in due.items():
            if not self._write(connection, frames, now):
                self._fall_behind(connection, frames[0])

    def _write(self, connection: Connection, frames: Sequence[Frame], now: float) -> bool:
        """What of these is new to it and wanted. False when its socket is full."""
        written = connection.give(frames, self._max_buffer)
        if written is None:
            return False
        if written.events:  # else it stays silent, and is due a heartbeat
            connection.sent_at = now
            self.stats.delivered += written.events
            self.stats.delivered_bytes += written.size
        return True

    @property
    def tail_bytes(self) -> int:
        """About how much memory the tails take now."""
        return self._recent_bytes

    def _remember(self, channel: Channel, frame: Frame) -> None:
        self._recent.append((channel, frame))
        self._recent_bytes += frame.memory
        while self._recent_bytes > self._tail_bytes:
            owner, oldest = self._recent.popleft()
            self._recent_bytes -= oldest.memory
            owner.forget_oldest(oldest)

    # Between live and not

    def advance(self, connection: Connection) -> Advance:
        """Bring a connection forward from the tails; live when it reached the tip."""
        self.flush()  # so that nothing waits that the tails already gave to this connection
        if connection.state is State.LIVE:
            return Advance.LIVE
        cursor = connection.cursor
        if cursor is None or not self.covers(connection):
            return Advance.NEEDS_HISTORY
        channels = [self.channels[name] for name in connection.channels]
        frames = [frame for channel in channels for frame in channel.after(cursor, connection.seen_serial)]
        frames.sort(key=lambda frame: frame.serial)
        if not self.give(connection, frames):
            return Advance.FULL
        connection.seen_serial = self.serial
        connection.state = State.LIVE
        for channel in channels:
            channel.live[connection] = None
        return Advance.LIVE

    def covers(self, connection: Connection) -> bool:
        """Whether the tails hold everything after its cursor."""
        cursor = connection.cursor
        return cursor is not None and all(self.channels[name].covers(cursor) for name in connection.channels)

    def give(self, connection: Connection, frames: Sequence[Frame]) -> bool:
        """Replay frames, in pieces of bounded size. False when its socket is full; the cursor tells how far it got."""
        piece: list[Frame] = []
        size = 0
        for frame in worth_replaying(frames, time.time() * 1000):
            piece.append(frame)
            size += len(frame.chunk)
            if size > self._write_at_most:
                if not self._give_piece(connection, piece):
                    return False
                piece, size = [], 0
        return not piece or self._give_piece(connection, piece)

    def _give_piece(self, connection: Connection, piece: list[Frame]) -> bool:
        if not self._write(connection, piece, asyncio.get_running_loop().time()):
            return False
        connection.seen_serial = max(connection.seen_serial, piece[-1].serial)
        return True

    def tell_gap(self, connection: Connection, requested: str, oldest: EventId | None) -> None:
        """Something after `requested` may be lost to this client; what is kept, from `oldest` on, follows."""
        self.stats.gaps_told += 1
        told = {"requested": requested, "oldest": None if oldest is None else str(oldest)}
        connection.tell("gateway.gap", told)

    def begin_anew(self, tip: EventId) -> None:
        """Trust no tail: every live connection is to be brought forward from its cursor, by history."""
        self.flush()
        self.tip = tip
        for channel in self.channels.values():
            channel.forget_all()
            channel.floor = None
            channel.forgotten = tip
        for connection in self.connections:
            self.set_back(connection)

    def set_back(self, connection: Connection) -> None:
        """Have a live connection brought forward from its cursor, as if it had fallen behind."""
        self.flush()
        if connection.state is State.LIVE:
            connection.seen_serial = self.serial
            connection.cause = Cause.LINK
            self._not_live(connection, State.BEHIND)
            connection.wake()

    def _fall_behind(self, connection: Connection, missed: Frame) -> None:
        self.stats.fell_behind += 1
        connection.seen_serial = missed.serial - 1
        connection.cause = Cause.SLOW
        self._not_live(connection, State.BEHIND)
        connection.wake()

    def _not_live(self, connection: Connection, state: State) -> None:
        connection.state = state
        for name in connection.channels:
            if (channel := self.channels.get(name)) is not None:
                channel.live.pop(connection, None)
