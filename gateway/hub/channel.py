"""A channel as this process sees it: who is live on it, and its most recent frames.

The tail is what makes going live seamless: it holds every frame with an id above both `floor` and `forgotten`, so
a connection whose cursor is below neither needs no history. Connections that catch up share it; nobody keeps a
queue.
"""

from __future__ import annotations

from collections import deque
from itertools import takewhile

from ..ids import START, EventId
from .connection import Connection
from .frame import Frame


class Channel:
    """`floor` is None until it is known from which id on announcements are complete.

    `forgotten` is kept apart from it: the floor comes from a reading of the broker, which may be older than what
    the tail lost since.

    An empty tail is the empty tuple: most channels are one quiet user's, and an empty deque takes 0.6 KB.
    """

    __slots__ = ("floor", "forgotten", "live", "members", "name", "newest", "tail")

    def __init__(self, name: str) -> None:
        self.name = name
        self.members = 0
        self.live: dict[Connection, None] = {}
        self.tail: deque[Frame] | tuple[()] = ()
        self.floor: EventId | None = None
        self.forgotten = START
        self.newest = START

    def covers(self, cursor: EventId) -> bool:
        """Whether everything after `cursor` is in the tail or still to be dispatched."""
        return self.floor is not None and self.floor <= cursor and self.forgotten <= cursor

    def announced_since(self, tip: EventId) -> None:
        """Everything after `tip` was announced here, or will be."""
        self.floor = tip if self.floor is None else min(self.floor, tip)

    def after(self, cursor: EventId, serial: int) -> list[Frame]:
        """The tail's frames after a cursor; those without an id, after a serial."""
        more_ids = self.newest > cursor  # else only what has none can be new: no need to look behind the serial
        newest_first = takewhile(
            lambda frame: frame.serial > serial or (more_ids and (frame.id is None or frame.id > cursor)),
            reversed(self.tail),
        )
        new = [f for f in newest_first if (f.id > cursor if f.id is not None else f.serial > serial)]
        new.reverse()
        return new

    def append(self, frame: Frame) -> None:
        if isinstance(self.tail, deque):
            self.tail.append(frame)
        else:
            self.tail = deque((frame,))
        if frame.id is not None:
            self.newest = frame.id

    def forget_oldest(self, frame: Frame) -> None:
        """`frame` leaves the process's memory; if it is still this tail's oldest, the tail begins after it."""
        if isinstance(self.tail, deque) and self.tail[0] is frame:
            self.tail.popleft()
            if not self.tail:
                self.tail = ()
            if frame.id is not None:
                self.lacks(frame.id)

    def forget_all(self) -> None:
        self.tail = ()

    def lacks(self, id: EventId) -> None:
        """Something up to `id` is not in the tail: it is no use to a cursor before that."""
        self.forgotten = max(self.forgotten, id)
