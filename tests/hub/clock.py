"""The event loop's time, in the test's hand: what is timed happens when the test says that time has passed."""

from __future__ import annotations

import asyncio


class Clock:
    """Stands in for a loop's `time`. The loop it is given to must not be one that computes timers elsewhere."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def time(self) -> float:
        return self.now

    async def advance(self, seconds: float) -> None:
        """Let time pass, and everything happen that was due."""
        self.now += seconds
        await turn()


async def turn() -> None:
    """Let the loop go round until what was ready, and what that made ready, is done."""
    for _ in range(5):
        await asyncio.sleep(0)
