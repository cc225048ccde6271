from __future__ import annotations

from uuid import UUID

from gateway.events import SSEEvent
from gateway.publisher import SSEPublisherProtocol


class ListPublisher:
    """The fake that a test of domain code would pass: it inherits from nothing."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str | None, SSEEvent]] = []

    async def publish(self, event: SSEEvent) -> None:
        self.calls.append(("publish", event.user_id, event))

    async def publish_to_user(self, user_id: UUID | str, event: SSEEvent) -> None:
        self.calls.append(("publish_to_user", str(user_id), event))

    async def broadcast(self, event: SSEEvent) -> None:
        self.calls.append(("broadcast", None, event))


class HalfPublisher:
    async def publish(self, event: SSEEvent) -> None: ...

    async def broadcast(self, event: SSEEvent) -> None: ...


async def domain_code(publisher: SSEPublisherProtocol) -> SSEEvent:
    event = SSEEvent("sync.completed", "alice", {"accounts": 3})
    await publisher.publish(event)
    await publisher.publish_to_user(UUID(int=1), event)
    await publisher.broadcast(event)
    return event


async def test_three_methods_make_a_publisher() -> None:
    """Domain code takes anything that has the methods, and passes the event itself on."""
    publisher = ListPublisher()
    assert isinstance(publisher, SSEPublisherProtocol)
    event = await domain_code(publisher)
    assert [(name, user) for name, user, _ in publisher.calls] == [
        ("publish", "alice"),
        ("publish_to_user", "00000000-0000-0000-0000-000000000001"),
        ("broadcast", None),
    ]
    assert all(published is event for _, _, published in publisher.calls)


def test_two_do_not() -> None:
    """What lacks a method is recognised when it is passed, not when it is called."""
    assert not isinstance(HalfPublisher(), SSEPublisherProtocol)
    assert not isinstance(None, SSEPublisherProtocol)
