"""A client's socket, from the gateway's buffer to the reader at the other end.

What is written waits in the gateway's own memory until the kernel has room, and there until the client reads it:
at once, slowly, or not at all. Flow control is asyncio's: above the high-water mark `drained` waits for the low one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

KERNEL = 1_500


@dataclass(frozen=True, slots=True)
class Pace:
    """How much a client reads at a time, and the seconds between."""

    gulp: int
    pause: float


PACES = {"fast": Pace(1 << 30, 0.002), "slowly": Pace(200, 0.1), "nothing": Pace(0, 0)}


class Socket:
    """`receive` is given what the client read; `ended` is called when it read the end, or was reset."""

    def __init__(self, limit: int, pace: Pace, receive: Callable[[bytes], None], ended: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._high, self._low = limit // 4, limit // 16
        self._receive = receive
        self._ended = ended
        self._waiting = bytearray()
        self._kernel = bytearray()
        self._pace = pace
        self._timer: asyncio.TimerHandle | None = None
        self._paused: asyncio.Future[None] | None = None
        self._finished = False
        self._deaf = False
        self.most_waiting = 0

    # The gateway's side

    def write(self, data: bytes, /) -> None:
        self._waiting += data
        self._fill()

    @property
    def room(self) -> int:
        """Bytes that the kernel would take now."""
        return KERNEL - len(self._kernel)

    def get_write_buffer_size(self) -> int:
        return len(self._waiting)

    async def drained(self) -> None:
        if self._paused is not None:
            await asyncio.shield(self._paused)

    def finish(self) -> None:
        """The stream is over; what was written is still delivered."""
        self._finished = True
        self._schedule()

    def abort(self) -> None:
        """Whatever was not read is lost."""
        if not self._deaf:
            self.hang_up()
            self._loop.call_soon(self._ended)

    def _fill(self) -> None:
        room = KERNEL - len(self._kernel)
        if room > 0:
            self._kernel += self._waiting[:room]
            del self._waiting[:room]
        waiting = len(self._waiting)
        self.most_waiting = max(self.most_waiting, waiting)
        if waiting > self._high and self._paused is None:
            self._paused = self._loop.create_future()
        elif waiting <= self._low and self._paused is not None:
            self._paused.set_result(None)
            self._paused = None
        self._schedule()

    # The client's side

    def read_at(self, pace: Pace) -> None:
        self._pace = pace
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._schedule()

    def hang_up(self) -> None:
        """The client reads no more: it left, and the gateway may not know yet."""
        self._deaf = True
        self.read_at(PACES["nothing"])

    def _schedule(self) -> None:
        if self._timer is None and self._pace.gulp and (self._kernel or self._finished):
            self._timer = self._loop.call_later(self._pace.pause, self._gulp)

    def _gulp(self) -> None:
        self._timer = None
        if not self._kernel and self._finished:
            self.hang_up()
            self._ended()
            return
        data = bytes(self._kernel[: self._pace.gulp])
        del self._kernel[: len(data)]
        self._fill()
        self._receive(data)
