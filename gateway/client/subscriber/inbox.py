"""What came, until the program asks for it: sorted into its events, gaps, and what the gateway says to clients.

An event that comes twice is known by its id. What is kept here is what one reading of the socket held.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

from ...event_stream import Event
from .events import EXPIRING, GAP, PREFIX, Gap, object_in

REMEMBERED = 1024
"""Event ids."""


class Inbox:
    """`token_left` is how many seconds the token had left when the gateway said that it ends soon; infinite before."""

    def __init__(self) -> None:
        self.token_left = math.inf
        self._events: deque[Event] = deque()
        self._seen: dict[str, None] = {}

    def __bool__(self) -> bool:
        return bool(self._events)

    def take(self) -> Event:
        return self._events.popleft()

    def clear(self) -> None:
        self._events.clear()

    def put(self, events: Iterable[Event]) -> None:
        for event in events:
            if event.type == GAP:
                self._seen.clear()  # a broker that forgot may give the same ids again
                self._events.append(Gap.of(event))
            elif event.type == EXPIRING:
                left = object_in(event).get("seconds")
                self.token_left = float(left) if isinstance(left, int | float) else 0.0
            elif event.type.startswith(PREFIX):
                pass  # what `gateway.reconnect` says, the end says too; others are of a later gateway
            elif self._is_new(event.id):
                self._events.append(event)

    def _is_new(self, id: str | None) -> bool:
        if id is None:
            return True
        if id in self._seen:
            return False
        self._seen[id] = None
        if len(self._seen) > REMEMBERED:
            del self._seen[next(iter(self._seen))]
        return True
