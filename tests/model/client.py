"""A client as a browser is one: it reads blocks, remembers the last id, and comes back with it.

What a block says is believed only when the block is complete; what was cut off with the connection never was.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from model.ledger import Gap, Ledger

from gateway.ids import START, EventId, parse_cursor


@dataclass(frozen=True, slots=True)
class Listening:
    """What a client listens to, and how."""

    channels: tuple[str, ...]
    types: tuple[str, ...] = ()
    chunked: bool = True


CLIENTS = (
    Listening(("user:a", "broadcast")),
    Listening(("user:b", "broadcast", "topic:x")),
    Listening(("user:a", "broadcast", "topic:x", "topic:y")),
    Listening(("user:c", "broadcast", "topic:y"), types=("t.*",), chunked=False),
)


class Reader:
    """One connection's bytes, from the socket to the ledger. `wrote` is told of each write before it arrives."""

    def __init__(self, ledger: Ledger, *, chunked: bool, blame: Callable[[str], None]) -> None:
        self._ledger = ledger
        self._chunked = chunked
        self._blame = blame
        self._bytes = bytearray()
        self._writes: deque[tuple[int, float, Gap | None]] = deque()
        self._written = self._read = 0
        self._closed = False
        self.blocks = 0

    def wrote(self, size: int, at: float, gap: Gap | None) -> None:
        self._written += size
        self._writes.append((self._written, at, gap))

    def close(self) -> None:
        """The client left: whatever comes now is not read."""
        self._closed = True

    def feed(self, data: bytes) -> None:
        if self._closed:
            return
        self._bytes += data
        while (block := self._next_block()) is not None and not self._closed:
            self._understand(block)

    def _next_block(self) -> bytes | None:
        if not self._chunked:
            return self._take_to(b"\n\n")
        line_end = self._bytes.find(b"\r\n")
        if line_end < 0:
            return None
        size = int(self._bytes[:line_end], 16)
        end = line_end + 2 + size + 2
        if len(self._bytes) < end:
            return None
        chunk = bytes(self._bytes[line_end + 2 : end])
        if chunk[-4:] != b"\n\n\r\n" or b"\n\n" in chunk[:-4]:
            self._blame(f"was sent a chunk that is not one block: {chunk[:60]!r}")
        self._take(end)
        return chunk[:-2]

    def _take_to(self, end: bytes) -> bytes | None:
        at = self._bytes.find(end)
        return self._take(at + len(end)) if at >= 0 else None

    def _take(self, size: int) -> bytes:
        taken = bytes(self._bytes[:size])
        del self._bytes[:size]
        self._read += size
        while self._writes[0][0] < self._read:
            self._writes.popleft()
        return taken

    def _understand(self, block: bytes) -> None:
        """The fields that the gateway sends; anything else is an error of its own."""
        self.blocks += 1
        id: EventId | None = None
        event_type, data = "", b""
        for line in block[:-2].split(b"\n"):
            name, _, value = line.partition(b": ")
            if name == b"id":
                id = EventId.parse(value.decode())
            elif name == b"event":
                event_type = value.decode()
            elif name == b"data":
                data = value
            elif name not in (b":", b"retry"):
                self._blame(f"was sent the line {line!r}")
        _, written_at, gap = self._writes[0]
        if event_type == "gateway.gap" and gap is not None:
            self._ledger.gap(gap)
        elif event_type:
            self._ledger.event(id, event_type, data, written_at)
        elif id is not None:
            self._ledger.moved(id, None, written_at)


class Client:
    """Number, ears and memory. `cursor` is what it sends as `Last-Event-ID` when it comes."""

    def __init__(self, number: int, ledger: Ledger) -> None:
        self.number = number
        self.listening = CLIENTS[number]
        self.ledger = ledger
        self._claim: str | None = None

    @property
    def cursor(self) -> str | None:
        position = self.ledger.position
        return self._claim if position in (None, START) else str(position)

    def forget(self, claim: str | None, *, owed_a_gap: bool) -> None:
        """A client without a past; it may claim one."""
        self._claim = claim
        position = None if claim is None else parse_cursor(claim) or START
        self.ledger.begin(position, owed_a_gap=owed_a_gap)


def gap_in(data: bytes) -> str | None:
    """The `requested` of the gap that is told in these bytes, if one is."""
    start = data.find(b"event: gateway.gap\ndata: ")
    if start < 0:
        return None
    told = data[start + len(b"event: gateway.gap\ndata: ") :]
    requested = json.loads(told[: told.index(b"\n")])["requested"]
    assert isinstance(requested, str)
    return requested
