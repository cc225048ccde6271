"""A ticket: random, shown once in the place of a token. Only its digest is kept, with what the token said."""

from __future__ import annotations

import hashlib
import json
import math
import secrets

from ..channels import USER_ID
from .identity import Subscriber

TICKET_BYTES = 32


def new_ticket() -> str:
    return secrets.token_urlsafe(TICKET_BYTES)


def digest(ticket: str) -> str:
    return hashlib.sha256(ticket.encode("utf-8", "surrogateescape")).hexdigest()


def written(subscriber: Subscriber) -> bytes:
    """What is kept with a ticket's digest."""
    return json.dumps([subscriber.user_id, subscriber.topics, subscriber.expires_at]).encode()


def read(kept: bytes, ticket_digest: str) -> Subscriber | None:
    """The subscriber a ticket was made for, None for what `written` never wrote. Whether it is still good, only the
    registry says."""
    try:
        match json.loads(kept):
            case [str(user_id), [*topics], float() | None as expires_at] if (
                USER_ID.fullmatch(user_id)
                and all(isinstance(topic, str) for topic in topics)
                and (expires_at is None or math.isfinite(expires_at))
            ):
                return Subscriber(user_id, tuple(topics), expires_at, ticket_digest)
    except (ValueError, RecursionError):
        pass
    return None
