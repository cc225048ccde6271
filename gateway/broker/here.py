"""What one process knows of its users by itself: how many streams each has here, and whom it heard to be kept away.

All that the memory registry has, and what the Redis registry goes by while Redis is away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from .registry import Verdict

REMEMBERED = 10_000
"""Users kept away, at most; the one that was heard of first is forgotten first."""


class Here:
    """`limit` is that of streams of a user, 0 for none; `clock` counts seconds."""

    def __init__(self, limit: int, clock: Callable[[], float]) -> None:
        self.streams: Counter[str] = Counter()
        self.limit = limit
        self._clock = clock
        self._away_until: dict[str, float] = {}

    def admit(self, user_id: str) -> Verdict:
        if self.seconds_away(user_id):
            return Verdict.KEPT_AWAY
        if self.limit and self.streams[user_id] >= self.limit:
            return Verdict.FULL
        self.streams[user_id] += 1
        return Verdict.ADMITTED

    def leave(self, user_id: str) -> None:
        self.streams[user_id] -= 1
        if self.streams[user_id] <= 0:
            del self.streams[user_id]

    def keep_away(self, user_id: str, seconds: float) -> None:
        """From now on, instead of what was said before."""
        self._away_until.pop(user_id, None)
        if seconds > 0:
            if len(self._away_until) >= REMEMBERED:
                del self._away_until[next(iter(self._away_until))]
            self._away_until[user_id] = self._clock() + seconds

    def seconds_away(self, user_id: str) -> float:
        """For how long the user is still kept away; 0 when not."""
        until = self._away_until.get(user_id)
        if until is None:
            return 0
        if (left := until - self._clock()) <= 0:
            del self._away_until[user_id]
            return 0
        return left
