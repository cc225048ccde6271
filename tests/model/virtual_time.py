"""An event loop whose time is virtual: where another loop would sleep, this one's clock jumps.

Thousands of simulated seconds pass in a real one, and the same run takes the same turns every time. A loop that
has nothing to wait for is deadlocked, one that turns for ever within one moment spins: both end the run, by name.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

BEGIN = 1_000.0
EPOCH_MS = 1_764_000_000_000
TURNS_IN_ONE_MOMENT = 50_000

T = TypeVar("T")


class Stuck(AssertionError):
    """Nothing will ever happen again, or time does not pass any more."""


class _Clock(selectors.SelectSelector):
    """Instead of waiting for sockets, of which there are none, lets the time pass that it was to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.now = BEGIN
        self._turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Stuck("deadlock: nothing is ready and nothing is scheduled")
        if timeout > 0:
            self.now += timeout
            self._turns = 0
        self._turns += 1
        if self._turns > TURNS_IN_ONE_MOMENT:
            raise Stuck(f"the loop spins: {TURNS_IN_ONE_MOMENT} turns at {self.now:.3f} s")
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Begins at `BEGIN`; `wall_ms` is what a wall clock would show."""

    def __init__(self) -> None:
        self._clock = _Clock()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now

    def wall_ms(self) -> int:
        return EPOCH_MS + int(self._clock.now * 1000)


def run(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run`, in virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)
