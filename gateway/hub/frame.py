"""A frame: the bytes of one event as they go to the sockets. Made once per process, shared by all connections."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from ..encodings import EVENT_STREAM, Encoding
from ..events import Entry
from ..frames import chunk, event_frame
from ..ids import EventId


class Frame:
    """`serial` counts what this process dispatched: it orders frames that have no id among those that do.

    `chunk` is the event for an event stream. Other encodings are made of it when somebody wants them.
    """

    __slots__ = ("channel", "chunk", "cloudevent", "event_type", "expires_ms", "id", "key", "occurred_at", "serial")

    def __init__(self, entry: Entry, serial: int = 0) -> None:
        self.id: EventId | None = entry.id
        self.channel = entry.channel
        self.event_type = entry.event_type
        self.key = None if entry.key is None else (entry.channel, entry.key)
        self.expires_ms = None if entry.ttl is None or entry.id is None else entry.id.ms + entry.ttl * 1000
        self.occurred_at = entry.occurred_at
        self.cloudevent = entry.cloudevent
        self.serial = serial
        self.chunk = chunk(event_frame(entry.event_type, entry.data, id=entry.id, retry=entry.retry))

    @property
    def body(self) -> bytes:
        return unchunked(self.chunk)

    @property
    def memory(self) -> int:
        """About how many bytes it holds."""
        return len(self.chunk) + _OVERHEAD + (0 if self.cloudevent is None else len(self.cloudevent))

    def entry(self) -> Entry:
        """What it was made of, as far as any encoding shows it. The data's lines are one: JSON may end a line anywhere
        between its words."""
        head, _, data = self.body[:-2].partition(b"\ndata: ")
        _, told, retry = head.partition(b"retry: ")
        return Entry(
            self.channel,
            self.id,
            self.event_type,
            data.replace(b"\ndata: ", b" "),
            retry=int(retry.partition(b"\n")[0]) if told else None,
            occurred_at=self.occurred_at,
            cloudevent=self.cloudevent,
        )

    def encoded(self, encoding: Encoding) -> bytes:
        """As a chunk. Made once for all who want it at about the same time."""
        if encoding is EVENT_STREAM:
            return self.chunk
        return (_encoded if len(self.chunk) <= REMEMBERED_SIZE else _encoded_large)(self, encoding)


_OVERHEAD = 370
REMEMBERED_FRAMES = 4096
REMEMBERED_LARGE = 16
REMEMBERED_SIZE = 2048


def _encode(frame: Frame, encoding: Encoding) -> bytes:
    return chunk(encoding.event(frame.entry()))


_encoded = lru_cache(REMEMBERED_FRAMES)(_encode)
_encoded_large = lru_cache(REMEMBERED_LARGE)(_encode)


def replayed(entry: Entry) -> Frame:
    """The frame of an entry of history. Small ones are made once for all who catch up at about the same time."""
    return _replayed(entry) if len(entry.data) <= REMEMBERED_SIZE else Frame(entry)


@lru_cache(REMEMBERED_FRAMES)
def _replayed(entry: Entry) -> Frame:
    return Frame(entry)


def join(frames: Sequence[Frame]) -> bytes:
    """The frames as one write to event streams."""
    return frames[0].chunk if len(frames) == 1 else b"".join([frame.chunk for frame in frames])


def join_as(frames: Sequence[Frame], encoding: Encoding, *, chunked: bool) -> bytes:
    """The frames as one write, whatever its form."""
    chunks = [frame.encoded(encoding) for frame in frames]
    if not chunked:
        chunks = [unchunked(chunk) for chunk in chunks]
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def unchunked(chunk: bytes) -> bytes:
    """Without the chunk's wrapping, for an HTTP/1.0 client."""
    return chunk[chunk.index(b"\r\n") + 2 : -2]


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
