"""`memory://`: the registry of a process that is the only one."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable

from ..errors import NotAllowed, RateLimited
from .here import Here
from .registry import TICKET_SECONDS, Fleet, Overloaded, SentAway, Verdict, never


class MemoryRegistry:
    """See `gateway.broker.registry.Registry` for the contract. `tickets` is the most that one user may have."""

    def __init__(self, *, limit: int = 0, tickets: int = 32, clock: Callable[[], float] = time.monotonic) -> None:
        self._here = Here(limit, clock)
        self._most_tickets = tickets
        self._clock = clock
        self._holders: dict[str, tuple[float, str, bytes]] = {}  # until when, whose, what; the next to expire first
        self._good: defaultdict[str, set[str]] = defaultdict(set)
        self._sent_away: SentAway | None = None

    async def start(self, sent_away: SentAway, overloaded: Overloaded = never) -> None:
        self._sent_away = sent_away

    async def close(self) -> None:
        self._sent_away = None

    async def enter(self, user_id: str, ticket: str | None = None) -> Verdict:
        self._expire()
        if ticket is not None and ticket not in self._good.get(user_id, ()) and not self._here.seconds_away(user_id):
            return Verdict.VOID
        verdict = self._here.admit(user_id)
        if verdict is Verdict.ADMITTED and ticket is not None:
            self._void(user_id, ticket)
        return verdict

    def leave(self, user_id: str) -> None:
        self._here.leave(user_id)

    async def connections(self, user_id: str) -> int:
        return self.here(user_id)

    async def send_away(self, user_id: str, seconds: float | None = None) -> int:
        if seconds is not None:
            self._here.keep_away(user_id, seconds)
        self._good.pop(user_id, None)
        before = self.here(user_id)
        if self._sent_away is not None:
            self._sent_away(user_id)
        return before

    async def issue(self, user_id: str, ticket: str, holder: bytes) -> None:
        self._expire()
        if left := self._here.seconds_away(user_id):
            raise NotAllowed(f"the user is kept away for {left:.0f} s")
        if len(self._good.get(user_id, ())) >= self._most_tickets:
            raise RateLimited(
                f"the user has {self._most_tickets} tickets that were not used", retry_after=TICKET_SECONDS
            )
        self._holders[ticket] = (self._clock() + TICKET_SECONDS, user_id, holder)
        self._good[user_id].add(ticket)

    async def holder(self, ticket: str) -> bytes | None:
        self._expire()
        known = self._holders.get(ticket)
        return known and known[2]

    def health(self) -> str | None:
        return None if self._sent_away is not None else "the registry is closed"

    def failed(self) -> str | None:
        return None

    def fleet(self) -> Fleet:
        return Fleet(1, 0)

    def here(self, user_id: str) -> int:
        return self._here.streams[user_id]

    def _expire(self) -> None:
        now = self._clock()
        while self._holders and next(iter(self._holders.values()))[0] <= now:
            ticket = next(iter(self._holders))
            _, user_id, _ = self._holders.pop(ticket)
            self._void(user_id, ticket)

    def _void(self, user_id: str, ticket: str) -> None:
        good = self._good[user_id]
        good.discard(ticket)
        if not good:
            del self._good[user_id]
