"""The publisher protocol: what domain code depends on.

Structural typing: anything with these three methods is a publisher. There is nothing to inherit from and
nothing to register; a test passes a list-backed fake, production passes `gateway.client.get_sse_publisher()`.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable
from uuid import UUID

from .events import SSEEvent


@runtime_checkable
class SSEPublisherProtocol(Protocol):
    """Publishes events to connected clients.

    Contract: a call never raises and never blocks longer than the publisher's budget (1 s by default); what
    could not be published is logged and counted. Events published by one caller, one after the other, to one
    user arrive in that order.
    """

    async def publish(self, event: SSEEvent) -> None:
        """To the channel of the event's own user."""
        ...

    async def publish_to_user(self, user_id: UUID | str, event: SSEEvent) -> None:
        """To the channel of `user_id`, whoever the event is about."""
        ...

    async def broadcast(self, event: SSEEvent) -> None:
        """To everyone who is connected."""
        ...
