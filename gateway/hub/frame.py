"""A frame: the bytes of one event as they go to the sockets. Made once per process, shared by all connections."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from ..events import Entry
from ..frames import chunk, event_frame
from ..ids import EventId


class Frame:
    """`serial` counts what this process dispatched: it orders frames that have no id among those that do."""

    __slots__ = ("chunk", "event_type", "expires_ms", "id", "key", "serial")

    def __init__(self, entry: Entry, serial: int = 0) -> None:
        self.id: EventId | None = entry.id
        self.event_type = entry.event_type
        self.key = None if entry.key is None else (entry.channel, entry.key)
        self.expires_ms = None if entry.ttl is None or entry.id is None else entry.id.ms + entry.ttl * 1000
        self.serial = serial
        self.chunk = chunk(event_frame(entry.event_type, entry.data, id=entry.id, retry=entry.retry))

    @property
    def body(self) -> bytes:
        """Without the chunk's wrapping, for an HTTP/1.0 client."""
        return self.chunk[self.chunk.index(b"\r\n") + 2 : -2]

    @property
    def memory(self) -> int:
        """About how many bytes it holds."""
        return len(self.chunk) + _OVERHEAD


_OVERHEAD = 350
REMEMBERED_FRAMES = 4096
REMEMBERED_SIZE = 2048


def replayed(entry: Entry) -> Frame:
    """The frame of an entry of history. Small ones are made once for all who catch up at about the same time."""
    return _replayed(entry) if len(entry.data) <= REMEMBERED_SIZE else Frame(entry)


@lru_cache(REMEMBERED_FRAMES)
def _replayed(entry: Entry) -> Frame:
    return Frame(entry)


def join(frames: Sequence[Frame]) -> bytes:
    """The frames as one write."""
    return frames[0].chunk if len(frames) == 1 else b"".join([frame.chunk for frame in frames])


def worth_replaying(frames: Sequence[Frame], now_ms: float) -> Sequence[Frame]:
    """Without those past their `ttl`, and of those with the same `key` only the newest."""
    if all(frame.key is None and frame.expires_ms is None for frame in frames):
        return frames
    newest = {frame.key: frame for frame in frames if frame.key is not None}
    return [
        frame
        for frame in frames
        if (frame.key is None or newest[frame.key] is frame) and (frame.expires_ms is None or frame.expires_ms > now_ms)
    ]
