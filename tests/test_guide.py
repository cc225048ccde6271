"""A guide has a task only while its connection needs one, and ends it once, whenever it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

import pytest

from gateway.frames import cursor_frame
from gateway.guide import Guide
from gateway.hub import CloseReason, Connection
from gateway.ids import EventId
from gateway.relay import Relay


class StubRelay:
    """`gate` holds whoever waits for a position or catches up; `wrong` is raised by catching up."""

    def __init__(self, *, live: bool = False, wrong: Exception | None = None) -> None:
        self.live = live
        self.wrong = wrong
        self.gate = asyncio.Event()
        self.catching_up = 0

    async def open(self, connection: Connection) -> None:
        await self.gate.wait()
        connection.cursor = EventId(5, 0)

    def is_live(self, connection: Connection) -> bool:
        if self.wrong is not None:
            raise self.wrong
        return self.live

    async def catch_up(self, connection: Connection, drained: Callable[[], Awaitable[None]]) -> None:
        if self.wrong is not None:
            raise self.wrong
        self.catching_up += 1
        if connection.close_reason is None:
            await self.gate.wait()


class Sink:
    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes, /) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return 0


class Recording(Guide):
    def __init__(self, relay: StubRelay) -> None:
        super().__init__(cast(Relay, relay), Connection(["user:a"]))
        self.sink = Sink()
        self.reasons: list[CloseReason] = []
        self.connection.attach(self.sink, chunked=False)

    def ended(self, reason: CloseReason) -> None:
        self.reasons.append(reason)

    async def drained(self) -> None:
        pass


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def tasks() -> int:
    return len(asyncio.all_tasks()) - 1


async def test_who_is_live_has_no_task() -> None:
    """Until it is woken; then one, however often, and none when it is live again."""
    relay = StubRelay(live=True)
    guide = Recording(relay)
    guide.begin(positioned=True)
    assert tasks() == 0
    guide.connection.wake()
    guide.connection.wake()
    await turns()
    assert (tasks(), relay.catching_up) == (1, 1)
    relay.gate.set()
    await turns()
    assert (tasks(), guide.reasons) == (0, [])
    guide.connection.wake()
    await turns()
    assert (tasks(), relay.catching_up) == (0, 2)


@pytest.mark.parametrize("live", [True, False])
async def test_it_ends_once(live: bool) -> None:
    """Live or catching up: for the first reason that was given, and nothing wakes it after that."""
    relay = StubRelay(live=live)
    guide = Recording(relay)
    guide.begin(positioned=True)
    guide.connection.close(CloseReason.AGE)
    guide.connection.close(CloseReason.EXPIRED)
    await turns()
    guide.connection.wake()
    await turns()
    assert (guide.reasons, tasks()) == ([CloseReason.AGE], 0)


async def test_it_ends_whatever_it_waits_for() -> None:
    """A slow client's stream is not waited for until somebody looks at its socket again."""
    guide = Recording(StubRelay())
    guide.begin(positioned=True)
    await turns()
    assert tasks() == 1
    guide.connection.close(CloseReason.EXPIRED)
    await turns()
    assert (guide.reasons, tasks()) == ([CloseReason.EXPIRED], 0)


async def test_the_position_may_come_later() -> None:
    """The client is given its cursor when there is one."""
    relay = StubRelay()
    guide = Recording(relay)
    guide.begin(positioned=False)
    await turns()
    assert guide.sink.written == b""
    relay.gate.set()
    await turns()
    assert guide.sink.written == cursor_frame(EventId(5, 0))
    assert (relay.catching_up, tasks()) == (1, 0)


@pytest.mark.parametrize("later", [0, 5])
async def test_it_ends_without_a_position(later: int) -> None:
    """However long the broker is away, and in the very turn in which it began to wait for it."""
    guide = Recording(StubRelay())
    guide.begin(positioned=False)
    await turns(later)
    guide.connection.close(CloseReason.DRAINING)
    await turns()
    assert (guide.reasons, tasks()) == ([CloseReason.DRAINING], 0)


@pytest.mark.parametrize("positioned", [True, False])
@pytest.mark.parametrize("later", [0, 5])
async def test_a_forgotten_one_is_left_alone(positioned: bool, later: int) -> None:
    """The client has left: no task stays, and nobody is told of an end."""
    guide = Recording(StubRelay())
    guide.begin(positioned=positioned)
    await turns(later)
    guide.forget()
    guide.connection.close(CloseReason.AGE)
    await turns()
    assert (guide.reasons, tasks()) == ([], 0)


async def test_the_gateways_own_fault_ends_the_stream() -> None:
    """An error that nobody foresaw is logged, and the client comes back."""
    guide = Recording(StubRelay(wrong=RuntimeError("a bug")))
    guide.begin(positioned=True)
    await turns()
    assert (guide.reasons, tasks()) == ([CloseReason.FAILED], 0)
