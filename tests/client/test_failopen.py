from __future__ import annotations

import asyncio
from collections.abc import Sequence
from enum import StrEnum
from typing import Any
from uuid import UUID

import pytest
from structlog.typing import EventDict

from gateway.client import FailOpenPublisher, SSEEvent, SSEPublisherProtocol
from gateway.client.breaker import Breaker
from gateway.errors import BrokerUnavailable, InvalidRequest, NotAllowed, NotAuthenticated, RateLimited

SLACK = 5.0
HANG = "hang"
DOWN = BrokerUnavailable("nobody listens", retry_after=None)


class Scripted:
    """A transport that does what it is told: None takes the event, an exception is raised, HANG hangs."""

    def __init__(self, *script: Exception | str | None, then: Exception | str | None = None) -> None:
        self._script = list(script)
        self._then = then
        self.sent: list[tuple[str, SSEEvent, str]] = []
        self.closed = 0
        self.trying = asyncio.Event()

    async def send(self, channel: str, event: SSEEvent, idempotency_key: str) -> None:
        self.sent.append((channel, event, idempotency_key))
        self.trying.set()
        outcome = self._script.pop(0) if self._script else self._then
        if outcome == HANG:
            await asyncio.Event().wait()
        if isinstance(outcome, Exception):
            raise outcome

    async def close(self) -> None:
        self.closed += 1
        if self._then == HANG:
            await asyncio.Event().wait()

    @property
    def channels(self) -> list[str]:
        return [channel for channel, _, _ in self.sent]

    @property
    def keys(self) -> list[str]:
        return [key for _, _, key in self.sent]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def event(**fields: Any) -> SSEEvent:
    return SSEEvent("sync.completed", "42", {"secret": "payload"}, **fields)


def counts(publisher: FailOpenPublisher) -> Sequence[int]:
    stats = publisher.stats
    return stats.published, stats.failed, stats.skipped, stats.misused


async def test_it_is_a_publisher() -> None:
    """It has the protocol's methods and sends each call to the channel that the method names."""
    transport = Scripted()
    publisher: SSEPublisherProtocol = FailOpenPublisher(transport)
    assert isinstance(publisher, SSEPublisherProtocol)
    await publisher.publish(event())
    await publisher.publish_to_user("7", event())
    await publisher.publish_to_user(UUID(int=1), event())
    await publisher.broadcast(SSEEvent("news"))
    assert transport.channels == ["user:42", "user:7", f"user:{UUID(int=1)}", "broadcast"]


async def test_what_is_taken_is_counted() -> None:
    """A success counts as published and logs nothing."""
    publisher = FailOpenPublisher(Scripted())
    await publisher.publish(event())
    assert counts(publisher) == (1, 0, 0, 0)


async def test_a_failure_is_tried_once_more_with_the_same_key() -> None:
    """The second try carries the key of the first, and its success is the call's."""
    transport = Scripted(DOWN)
    publisher = FailOpenPublisher(transport)
    await publisher.publish(event())
    assert len(transport.keys) == 2 and len(set(transport.keys)) == 1
    assert counts(publisher) == (1, 0, 0, 0)
    assert publisher.stats.retried == 1


async def test_there_is_no_third_try(logs: list[EventDict]) -> None:
    """A call whose second try fails too is over: counted and logged."""
    transport = Scripted(then=DOWN)
    publisher = FailOpenPublisher(transport)
    await publisher.publish(event())
    assert len(transport.sent) == 2
    assert counts(publisher) == (0, 1, 0, 0)
    assert logs == [
        {
            "event": "sse.publish_failed",
            "log_level": "warning",
            "reason": "broker-unavailable",
            "detail": "nobody listens",
            "event_type": "sync.completed",
            "channel": "user",
        }
    ]


async def test_each_call_has_its_own_key() -> None:
    """Publishing equal events twice is two events, unless they have an id."""
    transport = Scripted()
    publisher = FailOpenPublisher(transport)
    for each in (event(), event(), event(id="a"), event(id="a")):
        await publisher.publish(each)
    assert len(set(transport.keys[:2])) == 2
    assert transport.keys[2:] == ["a", "a"]


async def test_a_try_that_hangs_leaves_time_for_another() -> None:
    """A first try without an answer is given up early enough for a second."""
    transport = Scripted(HANG)
    publisher = FailOpenPublisher(transport, budget=1)
    async with asyncio.timeout(SLACK):
        await publisher.publish(event())
    assert len(transport.keys) == 2 and len(set(transport.keys)) == 1
    assert counts(publisher) == (1, 0, 0, 0)


async def test_a_transport_that_hangs_costs_no_more_than_the_budget(logs: list[EventDict]) -> None:
    """However the transport hangs, the caller goes on."""
    transport = Scripted(then=HANG)
    publisher = FailOpenPublisher(transport, budget=0.5)
    async with asyncio.timeout(SLACK):
        await publisher.publish(event())
    assert len(transport.sent) == 2
    assert counts(publisher) == (0, 1, 0, 0)
    assert [line["reason"] for line in logs] == ["timeout"]


async def test_a_pause_longer_than_the_budget_is_no_second_try() -> None:
    """Asked to wait longer than the caller can, the publisher does not ask again."""
    transport = Scripted(BrokerUnavailable("later", retry_after=60))
    publisher = FailOpenPublisher(transport)
    async with asyncio.timeout(SLACK):
        await publisher.publish(event())
    assert len(transport.sent) == 1
    assert counts(publisher) == (0, 1, 0, 0)


@pytest.mark.parametrize("error", [InvalidRequest("no"), NotAuthenticated(), NotAllowed(), RateLimited()])
async def test_a_refusal_is_not_tried_again(error: Exception) -> None:
    """What the gateway will not take is not sent a second time."""
    transport = Scripted(then=error)
    publisher = FailOpenPublisher(transport)
    await publisher.publish(event())
    assert len(transport.sent) == 1
    assert counts(publisher) == (0, 1, 0, 0)


async def test_an_error_nobody_foresaw_stays_inside(logs: list[EventDict]) -> None:
    """Whatever a transport raises, the caller does not see it, and the log does not quote it."""
    publisher = FailOpenPublisher(Scripted(RuntimeError("payload 42")))
    await publisher.publish(event())
    assert counts(publisher) == (0, 1, 0, 0)
    assert logs[0]["reason"] == "RuntimeError"
    assert "payload" not in str(logs)


async def test_cancellation_goes_through() -> None:
    """The caller's own cancellation is not swallowed, and is no failure."""
    transport = Scripted(then=HANG)
    publisher = FailOpenPublisher(transport, budget=60)
    task = asyncio.create_task(publisher.publish(event()))
    async with asyncio.timeout(SLACK):
        await transport.trying.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert counts(publisher) == (0, 0, 0, 0)


async def test_an_event_without_user_is_misuse(logs: list[EventDict]) -> None:
    """publish() of an event that belongs to nobody is logged as an error and sent to nobody."""
    transport = Scripted()
    publisher = FailOpenPublisher(transport)
    await publisher.publish(SSEEvent("news"))
    assert transport.sent == []
    assert counts(publisher) == (0, 0, 0, 1)
    assert (logs[0]["event"], logs[0]["log_level"]) == ("sse.publish_misused", "error")
    assert logs[0]["reason"] == "no-user-id"


@pytest.mark.parametrize("user_id", [42, None, "", "a b", "x" * 129, object()])
async def test_a_bad_user_id_is_misuse(user_id: Any, logs: list[EventDict]) -> None:
    """A value that is no user id is logged, without the value, and nothing is sent."""
    transport = Scripted()
    publisher = FailOpenPublisher(transport)
    await publisher.publish_to_user(user_id, event())
    assert transport.sent == []
    assert counts(publisher) == (0, 0, 0, 1)
    assert logs[0]["reason"] == "bad-user-id"


@pytest.mark.parametrize("thing", [None, {"event_type": "x"}, "x"])
async def test_something_that_is_no_event_is_misuse(thing: Any, logs: list[EventDict]) -> None:
    """Anything but an SSEEvent is logged by its type, whichever method it is given to."""
    transport = Scripted()
    publisher = FailOpenPublisher(transport)
    await publisher.publish(thing)
    await publisher.publish_to_user("42", thing)
    await publisher.broadcast(thing)
    assert transport.sent == []
    assert counts(publisher) == (0, 0, 0, 3)
    assert [line["reason"] for line in logs] == ["not-an-event"]


async def test_lines_never_hold_data_or_user_ids(logs: list[EventDict]) -> None:
    """A failure's line names the event type and the kind of channel, not the user or the payload."""
    publisher = FailOpenPublisher(Scripted(NotAllowed("the key 'a' may not publish to 'user:42'")))
    await publisher.publish(event())
    assert (logs[0]["event_type"], logs[0]["channel"]) == ("sync.completed", "user")
    assert logs[0]["detail"] == "the key 'a' may not publish to 'user'"
    assert "42" not in str(logs) and "payload" not in str(logs)


async def test_failures_by_the_thousand_are_one_line(logs: list[EventDict]) -> None:
    """Within the interval one line stands for all failures of its reason; the next tells how many."""
    clock = Clock()
    publisher = FailOpenPublisher(
        Scripted(then=NotAllowed("no")), clock=clock, log_interval=30, breaker=Breaker(failures=99)
    )
    for _ in range(10):
        await publisher.publish(event())
    assert len(logs) == 1
    clock.now = 31
    await publisher.publish(event())
    assert logs[1]["suppressed"] == 9
    assert publisher.stats.failed == 11


async def test_a_dead_gateway_is_left_alone_for_a_while(logs: list[EventDict]) -> None:
    """After failures in a row calls return at once and are counted; a trial that succeeds ends that."""
    clock = Clock()
    transport = Scripted(*[DOWN] * 4)
    publisher = FailOpenPublisher(transport, clock=clock, breaker=Breaker(failures=2, cool_down=2))
    for _ in range(5):
        await publisher.publish(event())
    assert counts(publisher) == (0, 2, 3, 0)
    assert len(transport.sent) == 4
    clock.now = 2
    await publisher.publish(event())
    await publisher.publish(event())
    assert counts(publisher) == (2, 2, 3, 0)
    names = [line["event"] for line in logs]
    assert names == ["sse.publish_failed", "sse.publishing_paused", "sse.publishing_resumed"]
    assert logs[-1]["skipped_so_far"] == 3


async def test_one_trial_at_a_time() -> None:
    """While a trial is under way other calls do not wait for it, and a cancelled trial blocks nobody."""
    clock = Clock()
    transport = Scripted(DOWN, DOWN, HANG)
    publisher = FailOpenPublisher(transport, budget=60, clock=clock, breaker=Breaker(failures=1))
    await publisher.publish(event())
    clock.now = 60
    transport.trying.clear()
    trial = asyncio.create_task(publisher.publish(event()))
    async with asyncio.timeout(SLACK):
        await transport.trying.wait()
        await publisher.publish(event())
    assert publisher.stats.skipped == 1
    trial.cancel()
    await asyncio.gather(trial, return_exceptions=True)
    await publisher.publish(event())
    assert publisher.stats.published == 1


async def test_refused_events_do_not_speak_against_the_gateway() -> None:
    """A gateway that refuses events is alive: the breaker stays closed."""
    transport = Scripted(then=InvalidRequest("no"))
    publisher = FailOpenPublisher(transport, breaker=Breaker(failures=1))
    for _ in range(3):
        await publisher.publish(event())
    assert counts(publisher) == (0, 3, 0, 0)


async def test_a_key_that_is_not_known_opens_the_breaker() -> None:
    """Nothing can be published with a wrong key, so it is not shown with every event."""
    transport = Scripted(then=NotAuthenticated())
    publisher = FailOpenPublisher(transport, breaker=Breaker(failures=2))
    for _ in range(3):
        await publisher.publish(event())
    assert counts(publisher) == (0, 2, 1, 0)


async def test_too_many_requests_is_heeded() -> None:
    """Told to come back in some seconds, the publisher does."""
    clock = Clock()
    transport = Scripted(RateLimited("slower", retry_after=7))
    publisher = FailOpenPublisher(transport, clock=clock)
    await publisher.publish(event())
    clock.now = 6.9
    await publisher.publish(event())
    assert counts(publisher) == (0, 1, 1, 0)
    clock.now = 7
    await publisher.publish(event())
    assert counts(publisher) == (1, 1, 1, 0)


async def test_a_str_enum_is_an_event_type() -> None:
    """Event types may be members of a StrEnum."""

    class Kind(StrEnum):
        DONE = "sync.done"

    transport = Scripted()
    await FailOpenPublisher(transport).publish(SSEEvent(event_type=Kind.DONE, user_id=UUID(int=2), data={}))
    assert transport.sent[0][1].event_type == "sync.done"


async def test_leaving_the_block_closes_the_transport() -> None:
    """`async with` closes, also after an error in the block."""
    transport = Scripted()
    with pytest.raises(ZeroDivisionError):
        async with FailOpenPublisher(transport):
            raise ZeroDivisionError
    assert transport.closed == 1


async def test_closing_does_not_hang(logs: list[EventDict]) -> None:
    """A transport that cannot be closed costs a budget and a line."""
    publisher = FailOpenPublisher(Scripted(then=HANG), budget=0.05)
    async with asyncio.timeout(SLACK):
        await publisher.close()
    assert [line["event"] for line in logs] == ["sse.close_failed"]


@pytest.mark.parametrize("budget", [0, -1, float("nan")])
async def test_a_budget_is_more_than_nothing(budget: float) -> None:
    """A budget in which nothing can be done is an error at once."""
    with pytest.raises(ValueError, match="budget"):
        FailOpenPublisher(Scripted(), budget=budget)
