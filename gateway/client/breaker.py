"""A circuit breaker: keeps a dead gateway from slowing its callers.

    closed     everything passes; `failures` failures in a row open it
    open       nothing passes until the cool-down is over
    half-open  one trial is under way, nothing else passes: its success closes, its failure opens for longer

Rule: whoever is admitted gets a ticket and hands it back with the outcome. Tickets of an earlier state count
for nothing, so a late answer can neither close nor open what has changed since.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from enum import Enum

FAILURES = 5
COOL_DOWN = 2.0
MAX_COOL_DOWN = 30.0


class State(Enum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Breaker:
    """Times are seconds of any clock that only goes forward. `jitter` gives numbers from 0 to 1.

    A cool-down lasts between half and all of `cool_down`, which doubles up to `max_cool_down` with every
    trial that fails: the processes that share a gateway do not all come back to it at once.
    """

    def __init__(
        self,
        *,
        failures: int = FAILURES,
        cool_down: float = COOL_DOWN,
        max_cool_down: float = MAX_COOL_DOWN,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.state = State.CLOSED
        self._most_failures = failures
        self._first_cool_down = self._cool_down = cool_down
        self._max_cool_down = max_cool_down
        self._jitter = jitter
        self._failures = 0
        self._until = 0.0
        self._ticket = 0

    def admit(self, now: float) -> int | None:
        """A ticket to try with, or None: do not try."""
        if self.state is State.HALF_OPEN or (self.state is State.OPEN and now < self._until):
            return None
        if self.state is State.OPEN:
            self._enter(State.HALF_OPEN)
        return self._ticket

    def succeeded(self, ticket: int) -> bool:
        """Whether this closed the breaker."""
        if ticket != self._ticket:
            return False
        self._failures, self._cool_down = 0, self._first_cool_down
        if self.state is State.CLOSED:
            return False
        self._enter(State.CLOSED)
        return True

    def failed(self, ticket: int, now: float) -> bool:
        """Whether this opened the breaker."""
        if ticket != self._ticket:
            return False
        self._failures += 1
        if self.state is State.CLOSED and self._failures < self._most_failures:
            return False
        self._open(now + self._cool_down * (1 + self._jitter()) / 2)
        self._cool_down = min(self._cool_down * 2, self._max_cool_down)
        return True

    def paused(self, ticket: int, now: float, seconds: float) -> bool:
        """The other side asked to be left alone for `seconds`. Whether this opened the breaker."""
        if ticket != self._ticket:
            return False
        self._open(now + min(seconds, self._max_cool_down))
        return True

    def abandoned(self, ticket: int) -> None:
        """There was no outcome (the caller was cancelled): a trial that was given up is another's to make."""
        if ticket == self._ticket and self.state is State.HALF_OPEN:
            self._enter(State.OPEN)

    def _open(self, until: float) -> None:
        self._until = until
        self._enter(State.OPEN)

    def _enter(self, state: State) -> None:
        self.state = state
        self._ticket += 1
