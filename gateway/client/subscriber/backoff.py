"""How long to wait before coming back: full jitter, so that those who lost a gateway together return apart.

The n-th wait in a row is anything from 0 to `retry` * 2**n, at most `LONGEST`; `retry` is what the gateway said last
(`retry:`). A Retry-After is waited for in full, and then as long as without one.
"""

from __future__ import annotations

import random
from collections.abc import Callable

FIRST = 3.0
LONGEST = 30.0
MOST = 3600.0
"""Seconds that a server may ask for."""


class Backoff:
    """`jitter` gives numbers from 0 to 1."""

    def __init__(self, *, jitter: Callable[[], float] = random.random) -> None:
        self._retry = FIRST
        self._failures = 0
        self._jitter = jitter

    def said(self, retry_ms: int | None) -> None:
        """The gateway sent `retry:`."""
        if retry_ms is not None:
            self._retry = min(retry_ms / 1000, MOST)

    def succeeded(self) -> None:
        self._failures = 0

    def wait(self, retry_after: float | None = None) -> float:
        """Seconds, after another failure."""
        doubled = self._retry * 2.0 ** min(self._failures, 30)
        self._failures += 1
        return min(retry_after or 0.0, MOST) + self._jitter() * min(doubled, max(LONGEST, self._retry))
