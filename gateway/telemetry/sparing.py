"""Log lines that a stranger can cause without end: so many in a second, and then how many were left out."""

from __future__ import annotations

import time
from collections.abc import Callable

LINES_PER_SECOND = 5


class Sparing:
    """One for each kind of line; lines of all its callers are counted together."""

    def __init__(self, per_second: int = LINES_PER_SECOND, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._clock = clock
        self._second = 0.0
        self._written = 0
        self._left_out = 0

    def left_out(self) -> int | None:
        """The number to tell with a line that may be written now; None when it must not be."""
        if (now := self._clock()) - self._second >= 1:
            self._second, self._written = now, 0
        if self._written >= self._per_second:
            self._left_out += 1
            return None
        self._written += 1
        left_out, self._left_out = self._left_out, 0
        return left_out
