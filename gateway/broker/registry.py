"""The registry port: what all processes must know of a user together.

How many streams a user has, whether the user was told to stay away, and which one-time tickets are good. Rule: a
process tells its own count, never a change of it, so what was lost or said twice is put right by the next telling.
Where the others cannot be asked, a process decides by what it knows itself: a newcomer is let in.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import NamedTuple, Protocol

TICKET_SECONDS = 30.0
"""How long a ticket is good for, if nobody used it."""


class Verdict(enum.StrEnum):
    """Whether a newcomer may come in; the values are the reasons in metrics."""

    ADMITTED = "admitted"
    FULL = "max_connections_per_user"
    KEPT_AWAY = "kept_away"
    VOID = "ticket_void"
    """The ticket was used, has expired, or was taken back."""


SentAway = Callable[[str | None], None]
"""Told of a user whose streams here are to end, or None when whose they are is not known: then of all."""


Overloaded = Callable[[], bool]
"""Asked with each sign of life: whether this process has too much to do. The others are told."""


def never() -> bool:
    return False


class Fleet(NamedTuple):
    """The processes that share the broker, this one included, as of its last sign of life.

    `overloaded` are those of the others that have too much to do.
    """

    living: int
    overloaded: int


class Registry(Protocol):
    """The port. Every adapter passes `tests/broker/contract_registry.py`.

    - `enter` counts the newcomer when, and only when, it is `ADMITTED`; whoever was admitted calls `leave` once, also
      when it was cancelled after that. Of processes that ask at once, no more are admitted than the limit allows.
    - What `send_away` returned from holds everywhere within 2 s, and within 5 s for a process that could not be told
      at once: `SentAway` is called there, and has ended all streams admitted before. A newcomer admitted meanwhile
      must be where `SentAway` finds it as soon as `enter` returned, without awaiting anything between.
    - A process that died counts for nothing after some seconds.
    - `enter` with a ticket, `connections`, `send_away`, `issue` and `holder` raise `BrokerUnavailable`.
    - No method blocks the event loop. `close` ends every task and connection, and is idempotent.
    """

    async def start(self, sent_away: SentAway, overloaded: Overloaded = never) -> None: ...

    async def close(self) -> None: ...

    async def enter(self, user_id: str, ticket: str | None = None) -> Verdict:
        """One more stream of a user. A ticket is used up by it when admitted, and only then."""
        ...

    def leave(self, user_id: str) -> None:
        """One stream less."""
        ...

    async def connections(self, user_id: str) -> int:
        """The user's streams over all processes."""
        ...

    async def send_away(self, user_id: str, seconds: float | None = None) -> int:
        """End the user's streams and take back the user's tickets; the number of streams there were.

        `seconds`: and keep the user away for so long, from now on; 0 lets the user in again, None leaves that as it is.
        """
        ...

    async def issue(self, user_id: str, ticket: str, holder: bytes) -> None:
        """Make `ticket` good for one `enter` of the user. Raises `NotAllowed` for a user who is kept away, and
        `RateLimited` for one who has too many."""
        ...

    async def holder(self, ticket: str) -> bytes | None:
        """What a ticket was issued with, or None. Only `enter` says whether it is still good."""
        ...

    def health(self) -> str | None:
        """Why this process decides alone now, or None."""
        ...

    def failed(self) -> str | None:
        """Why it will decide alone for ever, so that only another process can help, or None."""
        ...

    def fleet(self) -> Fleet:
        """Who else is there, by what was heard last."""
        ...

    def here(self, user_id: str) -> int:
        """The user's streams in this process."""
        ...
