"""Log lines for failures that may come by the thousand: one per kind and interval, with the number left out.

Rule: reporting never raises (a full disk or a closed stdout is no reason to break a caller), and is never
given an event's data, a user id or a key.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import structlog

LOG_INTERVAL = 30.0

_log = structlog.get_logger("gateway.client")


class Throttle:
    """Lets each key through once in `interval` seconds, and counts what it held back."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._last: dict[object, float] = {}
        self._held: dict[object, int] = {}

    def admit(self, key: object, now: float) -> int | None:
        """How many were held back since the last one that passed, or None: this one is held back too."""
        if key in self._last and now - self._last[key] < self._interval:
            self._held[key] = self._held.get(key, 0) + 1
            return None
        self._last[key] = now
        return self._held.pop(key, 0)


class Reporter:
    """`clock` gives seconds that only go forward."""

    def __init__(self, clock: Callable[[], float], interval: float = LOG_INTERVAL) -> None:
        self._clock = clock
        self._throttle = Throttle(interval)

    def failure(self, level: int, name: str, reason: str, **fields: Any) -> None:
        """At most one line for each `name` and `reason` in the interval."""
        if (suppressed := self._throttle.admit((name, reason), self._clock())) is not None:
            self._write(level, name, reason=reason, suppressed=suppressed or None, **fields)

    def change(self, level: int, name: str, **fields: Any) -> None:
        """A line for something that does not come by the thousand."""
        self._write(level, name, **fields)

    def _write(self, level: int, name: str, **fields: Any) -> None:
        with contextlib.suppress(Exception):
            _log.log(level, name, **{key: value for key, value in fields.items() if value not in (None, "")})
