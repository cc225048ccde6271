"""`memory://`: the fleet of a process that is the only one."""

from __future__ import annotations

import time
from collections.abc import Callable

from .fleet import FORGET_AFTER


class MemoryFleet:
    """See `gateway.broker.fleet.Fleet` for the contract."""

    def __init__(self, *, forget_after: float = FORGET_AFTER, clock: Callable[[], float] = time.monotonic) -> None:
        self._forget_after = forget_after
        self._clock = clock
        self._reports: dict[str, tuple[float, bytes]] = {}
        self._watched: dict[str, float] = {}

    async def close(self) -> None:
        pass

    async def tell(self, name: str, report: bytes) -> list[str]:
        now = self._clock()
        self._reports[name] = (now, report)
        self._watched = {what: until for what, until in self._watched.items() if until > now}
        return list(self._watched)

    async def reports(self) -> list[bytes]:
        oldest = self._clock() - self._forget_after
        self._reports = {name: told for name, told in self._reports.items() if told[0] > oldest}
        return [report for _, report in self._reports.values()]

    async def watch(self, what: str, seconds: float) -> None:
        self._watched[what] = self._clock() + seconds

    async def forget(self, name: str) -> None:
        self._reports.pop(name, None)
