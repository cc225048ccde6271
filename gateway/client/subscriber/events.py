"""What a subscription hands to its program, besides plain events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...event_stream import Event

PREFIX = "gateway."
GAP, EXPIRING = "gateway.gap", "gateway.expiring"


@dataclass(frozen=True, slots=True)
class Gap(Event):
    """Events may have been lost here: fetch your state anew. What is still kept follows.

    It comes among the events, at its place. `requested` is the cursor that the gateway could not serve, `oldest` the
    oldest event id that is kept, None when nothing is.
    """

    requested: str | None = None
    oldest: str | None = None

    @classmethod
    def of(cls, event: Event) -> Gap:
        told = object_in(event)
        requested, oldest = told.get("requested"), told.get("oldest")
        return cls(
            *(event.type, event.data, event.last_event_id, event.id),
            requested=requested if isinstance(requested, str) else None,
            oldest=oldest if isinstance(oldest, str) else None,
        )


@dataclass(frozen=True, slots=True)
class State:
    """What a subscription has come to be.

    name      connecting; open; waiting, to come back `retry_in` seconds later; closed, for good
    reason    why it waits or closed, in one line for people
    retry_in  seconds
    """

    name: Literal["connecting", "open", "waiting", "closed"]
    reason: str = ""
    retry_in: float = 0.0


def object_in(event: Event) -> dict[str, object]:
    """The JSON object that one of the gateway's own events holds; an empty one for what is none."""
    try:
        value = event.json()
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
