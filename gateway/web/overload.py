"""Whether a process has too much to do: as many streams as it may have, or an event loop that is late for good.

Both with a distance between beginning and end, so that a process on the border does not go to and fro.
"""

from __future__ import annotations

import math
import resource
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ..config import Settings
from ..telemetry.lag import LAGGING_AFTER, Lagging

FULL, LAGGING = "full", "lagging"
FULL_UNTIL = 0.95
"""Once full, a process is so until it has no more than this share of the streams that it may have."""
DESCRIPTORS_BESIDES = 64
"""Of the file descriptors a process may have, those for other things than streams."""


class Reason(NamedTuple):
    """`name` is one of few; `text` is for people, and begins with it where it does not speak for itself."""

    name: str
    text: str


class Overload:
    """`most` is the number of streams that this process may have, by its setting and by its descriptors."""

    def __init__(self, streams: Callable[[], int], settings: Settings) -> None:
        self.lagging = Lagging(settings.ready_max_lag)
        self._streams = streams
        self._max_connections = settings.max_connections
        self.most = min(settings.max_connections or math.inf, descriptors() - DESCRIPTORS_BESIDES)
        self._full = False

    def reasons(self) -> Iterator[Reason]:
        count, most = self._streams(), self.most
        self._full = count > most * FULL_UNTIL if self._full else count >= most
        if self._full:
            limit = "GATEWAY_MAX_CONNECTIONS" if most == self._max_connections else "file descriptors: ulimit -n"
            yield Reason(FULL, f"full: {count} of {most:.0f} streams ({limit})")
        if self.lagging.now:
            seconds = f"for {LAGGING_AFTER:g} s by {self.lagging.most:g} s or more (GATEWAY_READY_MAX_LAG)"
            yield Reason(LAGGING, f"lagging: the event loop was late {seconds}")

    def now(self) -> bool:
        return any(True for _ in self.reasons())


def descriptors() -> float:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return math.inf if soft == resource.RLIM_INFINITY else soft
