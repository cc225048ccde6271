"""Token buckets: so many at once, and so many a second after that.

A bucket fills at its rate up to its burst; whoever takes more than is in it gets nothing, and the bucket stays as it
is. One that nobody has taken from for as long as it takes to fill is full, and need not be kept: so what a table of
buckets holds is bounded by who came lately, and by `most` in any case.
"""

from __future__ import annotations

REMEMBERED = 20_000
"""Buckets that are not full; beyond that the one longest left alone is taken for full. 20,000 take 4 MB."""


class Buckets:
    """A bucket for each key. `rate` is tokens a second, above 0; `burst` is the most that one holds, 1 or more.

    `now` is any clock in seconds that does not go back, and the same one at every call.
    """

    def __init__(self, rate: float, burst: int, *, most: int = REMEMBERED) -> None:
        self.rate = rate
        self.burst = burst
        self._most = most
        self._fills_within = burst / rate
        self._taken_from: dict[str, tuple[float, float]] = {}  # tokens, when; the one longest left alone first

    def __len__(self) -> int:
        return len(self._taken_from)

    def left(self, key: str, now: float) -> float:
        """The tokens in a bucket."""
        found = self._taken_from.get(key)
        return self.burst if found is None else min(self.burst, found[0] + (now - found[1]) * self.rate)

    def wait(self, key: str, count: int, now: float) -> float:
        """Seconds until so many could be taken, if nobody else takes any; 0 when they can be now."""
        return max(count - self.left(key, now), 0) / self.rate

    def take(self, key: str, count: int, now: float) -> float:
        """Take `count` (at most `burst`) if they are there. 0 when they were taken, else the seconds to wait."""
        tokens = self.left(key, now)
        if tokens < count:
            return (count - tokens) / self.rate
        self._forget(now)
        self._taken_from.pop(key, None)
        self._taken_from[key] = (tokens - count, now)
        return 0

    def _forget(self, now: float) -> None:
        """The first two that are full by now, and one for want of room: so the table shrinks faster than it grows."""
        for _ in range(2):
            if not self._taken_from:
                return
            key = next(iter(self._taken_from))
            if now - self._taken_from[key][1] < self._fills_within and len(self._taken_from) < self._most:
                return
            del self._taken_from[key]
