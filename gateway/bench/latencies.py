"""Durations in buckets that grow by one percent: constant memory, and percentiles within one percent."""

from __future__ import annotations

import math
from array import array

SHORTEST = 1e-6
GROWTH = 1.01
BUCKETS = 2200
"""Up to 3,200 s."""

_SCALE = 1 / math.log(GROWTH)


class Latencies:
    """`longest` (s) is exact."""

    def __init__(self) -> None:
        self.count = 0
        self.longest = 0.0
        self._buckets = array("Q", bytes(8 * BUCKETS))

    def add(self, seconds: float) -> None:
        bucket = int(math.log(seconds / SHORTEST) * _SCALE) if seconds > SHORTEST else 0
        self._buckets[min(bucket, BUCKETS - 1)] += 1
        self.count += 1
        if seconds > self.longest:
            self.longest = seconds

    def percentile(self, percent: float) -> float | None:
        """The least duration (s) that so many percent do not exceed; None when there are none."""
        if not self.count:
            return None
        wanted = max(1, math.ceil(self.count * percent / 100))
        for bucket, count in enumerate(self._buckets):
            wanted -= count
            if wanted <= 0:
                return min(SHORTEST * GROWTH ** (bucket + 1), self.longest)
        return self.longest
