"""How late the event loop is: what every client and every probe waits for before anything else."""

from __future__ import annotations

import asyncio

from ..distribution import Distribution

MEASURE_EVERY = 0.05
LAGGING_AFTER = 3.0
"""Seconds for which the loop must be late, time and again, before it is called so, and in time before it is not."""


class Lagging:
    """Whether the loop is late for good.

    It begins when for 3 s each timer was late by `most` or more, and ends when for 3 s none was late by half of that:
    one long pause is none, and on the border it does not go to and fro.
    """

    def __init__(self, most: float) -> None:
        self.most = most
        self.now = False
        self._since: float | None = None

    def observe(self, late: float, at: float) -> None:
        """A timer was late by so many seconds, as was seen at this time."""
        turning = late <= self.most / 2 if self.now else late >= self.most
        if not turning:
            self._since = None
        elif self._since is None:
            self._since = at
        elif at - self._since >= LAGGING_AFTER:
            self.now, self._since = not self.now, None


async def measure(lag: Distribution, lagging: Lagging) -> None:
    """Run for ever: observe by how many seconds a timer fires too late."""
    clock = asyncio.get_running_loop().time
    while True:
        due = clock() + MEASURE_EVERY
        await asyncio.sleep(MEASURE_EVERY)
        now = clock()
        late = max(now - due, 0)
        lag.observe(late)
        if lagging.most:
            lagging.observe(late, now)
