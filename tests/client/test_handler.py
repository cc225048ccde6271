from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from structlog.typing import EventDict

from gateway.client import Broadcast, FailOpenPublisher, SSEEvent, SSEEventHandler
from gateway.client.handler import HandlerStats


class Recorder:
    """A publisher as a test of a backend service would have it."""

    def __init__(self) -> None:
        self.published: list[tuple[str, SSEEvent]] = []

    async def publish(self, event: SSEEvent) -> None:
        self.published.append((f"user:{event.user_id}", event))

    async def publish_to_user(self, user_id: UUID | str, event: SSEEvent) -> None:
        self.published.append((f"user:{user_id}", event))

    async def broadcast(self, event: SSEEvent) -> None:
        self.published.append(("broadcast", event))

    @property
    def types(self) -> list[tuple[str, str]]:
        return [(channel, event.event_type) for channel, event in self.published]


@dataclass
class Synced:
    user_id: str
    count: int = 0


class SyncedAgain(Synced):
    pass


def to_sse(e: Synced) -> SSEEvent:
    return SSEEvent("sync.completed", e.user_id, {"count": e.count})


async def test_a_domain_event_becomes_an_sse_event() -> None:
    """The function for the domain event's type makes the event, and its user gets it."""
    recorder = Recorder()
    await SSEEventHandler(recorder, {Synced: to_sse})(Synced("42", 3))
    assert recorder.types == [("user:42", "sync.completed")]
    assert recorder.published[0][1].data == {"count": 3}


async def test_handle_is_the_same_as_calling() -> None:
    """Frameworks that want a method are given `handle`."""
    recorder = Recorder()
    await SSEEventHandler(recorder, {Synced: to_sse}).handle(Synced("42"))
    assert recorder.types == [("user:42", "sync.completed")]


async def test_the_nearest_base_class_applies() -> None:
    """A subclass uses its base's entry until it has its own."""
    recorder = Recorder()
    mapping: dict[type, Any] = {object: lambda e: SSEEvent("other", "1"), Synced: to_sse}
    await SSEEventHandler(recorder, mapping)(SyncedAgain("42"))
    mapping[SyncedAgain] = lambda e: SSEEvent("again", e.user_id)
    await SSEEventHandler(recorder, mapping)(SyncedAgain("42"))
    await SSEEventHandler(recorder, mapping)("text")
    assert [event_type for _, event_type in recorder.types] == ["sync.completed", "again", "other"]


async def test_a_type_without_entry_is_ignored(logs: list[EventDict]) -> None:
    """Domain events that nobody mapped are counted and otherwise passed over."""
    handler = SSEEventHandler(Recorder(), {Synced: to_sse})
    await handler("text")
    assert handler.stats == HandlerStats(ignored=1)
    assert logs == []


async def test_several_events_in_order() -> None:
    """A function may return several events, for users and for everyone, or yield them."""
    recorder = Recorder()

    def several(e: Synced) -> Iterator[SSEEvent | Broadcast]:
        yield SSEEvent("first", e.user_id)
        yield Broadcast(SSEEvent("second"))
        yield SSEEvent("third", "43")

    await SSEEventHandler(recorder, {Synced: several})(Synced("42"))
    await SSEEventHandler(recorder, {Synced: lambda e: list(several(e))})(Synced("42"))
    assert recorder.types == [("user:42", "first"), ("broadcast", "second"), ("user:43", "third")] * 2


async def test_none_is_no_event(logs: list[EventDict]) -> None:
    """A function that returns None, or nothing in a list, publishes nothing."""
    recorder = Recorder()
    handler = SSEEventHandler(recorder, {Synced: lambda e: None, SyncedAgain: lambda e: []})
    await handler(Synced("42"))
    await handler(SyncedAgain("42"))
    assert handler.stats == HandlerStats(mapped=2)
    assert recorder.published == []
    assert logs == []


async def test_a_forgotten_user_id_is_not_a_broadcast(logs: list[EventDict]) -> None:
    """An event without user goes to nobody; only what says Broadcast goes to everyone."""

    class Refusing:
        async def send(self, channel: str, event: SSEEvent, idempotency_key: str) -> None:
            pytest.fail(f"sent to {channel}")

        async def close(self) -> None: ...

    publisher = FailOpenPublisher(Refusing())
    handler = SSEEventHandler(publisher, {Synced: lambda e: SSEEvent("sync.completed", data=e.count)})
    await handler(Synced("42"))
    assert publisher.stats.misused == 1
    assert logs[0]["reason"] == "no-user-id"


async def test_a_function_that_raises_breaks_nobody(logs: list[EventDict]) -> None:
    """The error is logged with the domain event's type and its place in the code, not with what it quotes."""
    recorder = Recorder()

    def broken(e: Synced) -> SSEEvent:
        raise KeyError(f"payload of {e.user_id}")

    handler = SSEEventHandler(recorder, {Synced: broken})
    await handler(Synced("user-1"))
    assert handler.stats == HandlerStats(failed=1)
    assert recorder.published == []
    (line,) = logs
    assert line["event"] == "sse.mapping_failed" and line["log_level"] == "error"
    assert line["domain_event"] == "Synced" and line["reason"] == "KeyError"
    assert line["at"].startswith("test_handler.py:")
    assert "user-1" not in str(line)


async def test_an_event_that_cannot_be_made_is_named(logs: list[EventDict]) -> None:
    """An invalid field is logged by its name, which is what the developer needs."""
    handler = SSEEventHandler(Recorder(), {Synced: lambda e: SSEEvent("sync completed", "42")})
    await handler(Synced("42"))
    assert logs[0]["reason"] == "InvalidEvent"
    assert logs[0]["detail"].startswith("event_type:")


async def test_all_or_none() -> None:
    """When the second of two events cannot be made, the first is not published either."""
    recorder = Recorder()

    def half(e: Synced) -> Iterator[SSEEvent]:
        yield SSEEvent("first", e.user_id)
        raise ZeroDivisionError

    handler = SSEEventHandler(recorder, {Synced: half})
    await handler(Synced("42"))
    assert recorder.published == []
    assert handler.stats == HandlerStats(failed=1)


@pytest.mark.parametrize("result", [42, "text", {"event_type": "x"}, [to_sse(Synced("42")), None]])
async def test_a_result_that_is_no_event_is_an_error(result: Any, logs: list[EventDict]) -> None:
    """A function that returns something else is logged with what was expected."""
    recorder = Recorder()
    handler = SSEEventHandler(recorder, {Synced: lambda e: result})
    await handler(Synced("42"))
    assert recorder.published == []
    assert handler.stats == HandlerStats(failed=1)
    assert "expected SSEEvent or Broadcast" in logs[0]["detail"]


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
async def test_an_async_function_is_an_error(logs: list[EventDict]) -> None:
    """Mapping is not the place to wait: an async function is logged as one."""

    async def waits(e: Synced) -> SSEEvent:
        return to_sse(e)

    mapping: dict[type, Any] = {Synced: waits}
    handler = SSEEventHandler(Recorder(), mapping)
    await handler(Synced("42"))
    assert handler.stats == HandlerStats(failed=1)
    assert "coroutine" in logs[0]["detail"]
