from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from hub.clock import Clock, turn
from hub.sinks import RecordingSink, dispatch, entry, joined, live

from gateway.hub import Connection, Hub, State
from gateway.hub.heartbeat import CONNECTIONS_PER_TURN, beat
from gateway.ids import START, EventId

INTERVAL = 15.0


@contextlib.asynccontextmanager
async def beating(hub: Hub) -> AsyncIterator[None]:
    task = asyncio.create_task(beat(hub, INTERVAL))
    await turn()
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def pass_time(clock: Clock, seconds: float) -> None:
    for _ in range(round(seconds * 10)):
        await clock.advance(0.1)


class TimedSink(RecordingSink):
    """Also keeps when it was written to."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.times = [clock.now]

    def write(self, data: bytes, /) -> None:
        super().write(data)
        self.times.append(self.clock.now)


async def test_nobody_is_silent_for_longer_than_the_interval(clock: Clock) -> None:
    """A quiet stream is written to within every interval, and not much more often."""
    hub = Hub()
    connection, _ = live(hub)
    sink = TimedSink(clock)
    connection.attach(sink, chunked=True)
    async with beating(hub):
        await pass_time(clock, 10 * INTERVAL)
    pauses = [later - earlier for earlier, later in zip(sink.times, sink.times[1:], strict=False)]
    assert max(pauses) <= INTERVAL
    assert min(pauses) >= INTERVAL * 0.8
    assert len(pauses) >= 10
    assert sink.parsed()[0].comments == len(pauses)


async def test_who_was_sent_an_event_needs_no_heartbeat(clock: Clock) -> None:
    """Only silent connections are written to."""
    hub = Hub()
    _, busy = live(hub)
    _, quiet = live(hub, "user:b")
    async with beating(hub):
        for number in range(1, 7):
            await pass_time(clock, INTERVAL / 3)
            dispatch(hub, entry(number))
    assert busy.parsed()[0].comments == 0
    assert quiet.parsed()[0].comments == 2


@pytest.mark.parametrize("second_channel", ["user:a", "broadcast"])
async def test_events_that_are_not_wanted_break_no_silence(clock: Clock, second_channel: str) -> None:
    """A connection whose filter lets nothing through is as silent as one without events."""
    hub = Hub()
    _, sink = live(hub, "user:a", "broadcast", types=["wanted"])
    _, ahead = live(hub, "user:a", "broadcast", cursor=EventId(10**6, 0))
    async with beating(hub):
        for number in range(1, 10):
            await pass_time(clock, INTERVAL / 3)
            dispatch(hub, entry(2 * number), entry(2 * number + 1, second_channel))
    assert sink.parsed()[0].comments == ahead.parsed()[0].comments == 3


@pytest.mark.parametrize("second_channel", ["user:a", "broadcast"])
async def test_a_filtered_event_is_as_good_as_any(clock: Clock, second_channel: str) -> None:
    """A connection with a filter that was sent something needs no heartbeat either."""
    hub = Hub()
    _, sink = live(hub, "user:a", "broadcast", types=["t"])
    async with beating(hub):
        for number in range(1, 10):
            await pass_time(clock, INTERVAL / 3)
            dispatch(hub, entry(2 * number), entry(2 * number + 1, second_channel))
    assert len(sink.received()) == 18
    assert sink.parsed()[0].comments == 0


async def test_catching_up_with_nothing_wanted_breaks_no_silence(clock: Clock) -> None:
    """A replay of other types writes nothing, so a heartbeat is due."""
    hub = Hub()
    connection, sink = joined(hub, types=["wanted"])
    dispatch(hub, entry(1))
    async with beating(hub):
        await pass_time(clock, INTERVAL * 0.8)
        hub.advance(connection)
        await pass_time(clock, INTERVAL * 0.2)
    assert sink.parsed()[0].comments == 1


async def test_a_live_client_is_told_the_tip(clock: Clock) -> None:
    """Its cursor stays young though nothing happens on its own channels, and nothing is dispatched by it."""
    hub = Hub()
    connection, sink = live(hub)
    async with beating(hub):
        dispatch(hub, entry(7, "user:b"))
        await pass_time(clock, INTERVAL)
    parser, events = sink.parsed()
    assert (parser.last_event_id, events) == ("7-0", [])
    assert connection.cursor == EventId(7, 0)


async def test_a_cursor_is_never_told_back(clock: Clock) -> None:
    """Who read history past the announcements is told its own position."""
    hub = Hub()
    connection, sink = live(hub, cursor=EventId(9, 0))
    async with beating(hub):
        dispatch(hub, entry(7, "user:b"))
        await pass_time(clock, INTERVAL)
    assert sink.parsed()[0].last_event_id == "9-0"
    assert connection.cursor == EventId(9, 0)


async def test_before_the_first_event_there_is_no_tip_to_tell(clock: Clock) -> None:
    """The heartbeat is then a comment alone."""
    hub = Hub()
    connection, sink = live(hub)
    async with beating(hub):
        await pass_time(clock, INTERVAL)
    assert sink.stream() == b":\n\n"
    assert connection.cursor == START


async def test_who_is_not_live_is_told_no_tip(clock: Clock) -> None:
    """A client that still misses events must not be given an id beyond them."""
    hub = Hub(max_buffer=1)
    catching_up, sink = joined(hub)
    behind, slow = live(hub, stalled=True)
    dispatch(hub, entry(1))
    dispatch(hub, entry(2))
    assert behind.state is State.BEHIND
    slow.read()
    async with beating(hub):
        await pass_time(clock, INTERVAL)
    assert sink.stream() == b":\n\n"
    assert slow.parsed()[0].last_event_id == "1-0"
    assert slow.parsed()[0].comments == 1
    assert (catching_up.cursor, behind.cursor) == (START, EventId(1, 0))


async def test_what_waits_is_proof_of_life_enough(clock: Clock) -> None:
    """Nothing is added to a socket that has not been emptied, however long that takes."""
    hub = Hub()
    connection, sink = live(hub, stalled=True)
    dispatch(hub, entry(1), entry(2, "user:b"))
    async with beating(hub):
        await pass_time(clock, 3 * INTERVAL)
        assert len(sink.writes) == 1
        assert connection.cursor == EventId(1, 0)
        sink.read()
        await pass_time(clock, 2)
        assert sink.parsed()[0].last_event_id == "2-0"


async def test_what_waits_to_be_joined_goes_first(clock: Clock) -> None:
    """The id of the tip never overtakes the events up to it."""
    hub = Hub(join_window=10 * INTERVAL)
    _, sink = live(hub)
    dispatch(hub, entry(1))
    async with beating(hub):
        await pass_time(clock, INTERVAL * 0.5)
        hub.dispatch(entry(2))
        await pass_time(clock, INTERVAL * 0.5)
    parser, events = sink.parsed()
    assert [event.last_event_id for event in events] == ["1-0", "2-0"]
    assert (parser.last_event_id, parser.comments) == ("2-0", 1)
    assert b"data: 2\n" in sink.writes[1]


async def test_a_connection_without_a_socket_is_passed_over(clock: Clock) -> None:
    """It joined, and its answer has not begun."""
    hub = Hub()
    hub.join(Connection(["user:a"]))
    _, sink = live(hub)
    async with beating(hub):
        await pass_time(clock, INTERVAL)
    assert sink.parsed()[0].comments == 1


async def test_many_are_served_over_several_turns(clock: Clock) -> None:
    """All get theirs, and the loop goes round in between."""
    hub = Hub()
    sinks = [live(hub)[1] for _ in range(2 * CONNECTIONS_PER_TURN + 1)]
    async with beating(hub):
        await clock.advance(INTERVAL - 1)
        await clock.advance(1)
        await turn()
    assert [len(sink.writes) for sink in sinks] == [1] * len(sinks)


async def test_who_leaves_meanwhile_gets_none(clock: Clock) -> None:
    """A connection that was due and left before its turn came is not written to."""
    hub = Hub()
    written: list[bytes] = []

    class Last(RecordingSink):
        def write(self, data: bytes, /) -> None:
            written.append(data)
            for connection in list(hub.connections):
                hub.leave(connection)

    for _ in range(3):
        connection, _ = live(hub)
        connection.attach(Last(), chunked=True)
    async with beating(hub):
        await pass_time(clock, INTERVAL)
    assert len(written) == 1
