"""A stream of events for a program: `subscribe` opens it, comes back to it, and says when something was lost.

Rule: nothing is read ahead. What the program does not ask for waits in the socket; a program that is slow makes the
gateway wait, which then serves it from the history. So there is no queue that could grow, and none that drops.
Importing this costs no aiohttp; subscribing does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from .events import Gap, State
from .request import Credential, Token, url_of
from .subscription import Subscription

if TYPE_CHECKING:
    from aiohttp import ClientSession

__all__ = ["Gap", "State", "Subscription", "Token", "subscribe"]


def subscribe(
    url: str,
    token: Token | None = None,
    *,
    topics: Iterable[str] = (),
    types: Iterable[str] = (),
    last_event_id: str = "",
    user: str | None = None,
    silence: float | None = None,
    on_state: Callable[[State], object] | None = None,
    session: ClientSession | None = None,
) -> Subscription:
    """The events of the token's user, of broadcasts and of `topics`:

        async with subscribe("https://events.example.com", token) as events:
            async for event in events:
                match event:
                    case Gap():
                        await fetch_everything_anew()
                    case Event(type="order.paid"):
                        await show(event.json())

    url            the gateway's address
    token          a string, or an async function that is called for one at each connection, shortly before it ends,
                   and when it was refused
    topics, types  which topics, and of everything only these event types (`order.*`)
    last_event_id  where to begin: an `event.last_event_id` that was kept, or "earliest"; else with what is new
    user           who to be, for a gateway in development mode
    silence        seconds without a heartbeat after which a connection is dead; 2.5 of the gateway's, if not given
    on_state       called with each `State`
    session        an aiohttp session to use, which stays open

    Entering returns when the gateway listens for us; what is published from then on arrives. A gateway that is not
    there is waited for. Raised are `ValueError` for arguments that cannot be used, `NotAuthenticated` (after one new
    token), `NotAllowed`, `InvalidRequest`, and `NoGateway` for an address that never was a gateway's; what the
    token function raises is raised too while there was no stream yet, and tried again later. The loop ends when the
    gateway says that this user is to stay away (204). One task at a time may read.
    """
    if silence is not None and not silence > 0:
        raise ValueError("silence: must be more than 0 seconds")
    return Subscription(
        url_of(url, topics=topics, types=types, user=user),
        Credential(token),
        last_event_id=_cursor(last_event_id),
        silence=silence,
        on_state=on_state,
        session=session,
    )


def _cursor(text: str) -> str:
    """`ValueError` for what no header can carry."""
    if not (text.isascii() and text.isprintable()):
        raise ValueError("last_event_id: must be an event's id, or 'earliest'")
    return text
