"""A ticket: random, shown once in the place of a token. Only its digest is kept, with what the token said."""

from __future__ import annotations

import hashlib
import json
import secrets

from .identity import Subscriber

TICKET_BYTES = 32


def new_ticket() -> str:
    return secrets.token_urlsafe(TICKET_BYTES)


def digest(ticket: str) -> str:
    return hashlib.sha256(ticket.encode("utf-8", "surrogateescape")).hexdigest()


def written(subscriber: Subscriber) -> bytes:
    """What is kept with a ticket's digest."""
    return json.dumps([subscriber.user_id, subscriber.topics, subscriber.expires_at]).encode()


def read(kept: bytes, ticket_digest: str) -> Subscriber:
    """The subscriber a ticket was made for. Whether it is still good, only the registry says."""
    user_id, topics, expires_at = json.loads(kept)
    return Subscriber(user_id, tuple(topics), expires_at, ticket_digest)
