"""How fast newcomers may come, and how many streams one address may have: in this process, before any token is read.

An address is asked about first: what comes too fast from one takes nothing from the others. Its place is taken when it
is asked for, and given back if nothing comes of it: so the limit is exact for any number who come in one moment.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from ..buckets import Buckets
from ..config import Settings


class Newcomers:
    """Addresses are those of `client_network`. `by_address`: whether anything depends on them; if not, None will do."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self.streams: Counter[str] = Counter()
        self._clock = clock
        self._most = settings.max_connections_per_address
        self._rate = _buckets(settings.connect_rate, settings.connect_burst)
        self._rate_per_address = _buckets(settings.connect_rate_per_address, settings.connect_burst_per_address)
        self.by_address = self._most > 0 or self._rate_per_address is not None

    def too_fast(self, address: str | None) -> tuple[str, float]:
        """The limit that one more would be over, and the seconds until it is not; else it has been counted."""
        if address is not None and (wait := _wait(self._rate_per_address, address, self._clock)):
            return "connect_rate_per_address", wait
        if wait := _wait(self._rate, "", self._clock):
            return "connect_rate", wait
        return "", 0

    def enter(self, address: str | None) -> bool:
        """Take a place of the address; False when it has none left. Whoever got one calls `leave`, once."""
        if address is None or not self._most:
            return True
        if self.streams[address] >= self._most:
            return False
        self.streams[address] += 1
        return True

    def leave(self, address: str | None) -> None:
        if address is None or not self._most:
            return
        self.streams[address] -= 1
        if self.streams[address] <= 0:
            del self.streams[address]


def _wait(buckets: Buckets | None, key: str, clock: Callable[[], float]) -> float:
    return 0 if buckets is None else buckets.take(key, 1, clock())


def _buckets(rate: float, burst: int) -> Buckets | None:
    return Buckets(rate, burst) if rate else None
