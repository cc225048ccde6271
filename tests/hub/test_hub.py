from __future__ import annotations

import json
from typing import Any

import pytest
from hub.clock import Clock, turn
from hub.sinks import RecordingSink, announced_since, dispatch, entry, joined, live, woken

from gateway.hub import Advance, CloseReason, Connection, Frame, Hub, State
from gateway.ids import START, EventId

SIZE = len(Frame(entry(1)).chunk)
MEMORY = Frame(entry(1)).memory


def connection_state(connection: Connection) -> tuple[State, EventId | None, bool]:
    return connection.state, connection.cursor, woken(connection)


# Joining frames


async def test_frames_of_a_turn_go_out_in_one_write() -> None:
    """Nothing is written within the turn; at its end the socket is written to once."""
    hub = Hub()
    _, sink = live(hub)
    for number in (1, 2, 3):
        hub.dispatch(entry(number))
    assert sink.writes == []
    await turn()
    assert len(sink.writes) == 1
    assert sink.received() == [1, 2, 3]


async def test_an_idle_hub_writes_at_once_and_a_busy_one_joins(clock: Clock) -> None:
    """The first event goes out in its turn; what follows within the window goes out together at its end."""
    hub = Hub(join_window=0.002)
    _, sink = live(hub)
    hub.dispatch(entry(1))
    await turn()
    assert sink.received() == [1]
    hub.dispatch(entry(2))
    await clock.advance(0.001)
    hub.dispatch(entry(3))
    await clock.advance(0.0005)
    assert sink.received() == [1]
    await clock.advance(0.0005)
    assert sink.received() == [1, 2, 3]
    assert len(sink.writes) == 2
    await clock.advance(0.002)
    hub.dispatch(entry(4))
    await turn()
    assert sink.received() == [1, 2, 3, 4]


async def test_a_window_never_grows_too_large(clock: Clock) -> None:
    """When more than a quarter of the buffer's limit waits, it is written without waiting for the window."""
    hub = Hub(max_buffer=16 * SIZE, join_window=60)
    _, sink = live(hub)
    dispatch(hub, entry(1))
    for number in (2, 3, 4, 5):
        hub.dispatch(entry(number))
    assert sink.received() == [1]
    hub.dispatch(entry(6))
    assert sink.received() == [1, 2, 3, 4, 5, 6]
    assert len(sink.writes) == 2
    hub.dispatch(entry(7))
    await clock.advance(59)
    assert sink.received() == [1, 2, 3, 4, 5, 6]
    await clock.advance(1)
    assert sink.received() == [1, 2, 3, 4, 5, 6, 7]


async def test_a_flush_takes_the_place_of_the_one_that_was_due(clock: Clock) -> None:
    """What was written early is not written again at the end of the window, and an empty flush writes nothing."""
    hub = Hub()
    _, sink = live(hub)
    hub.dispatch(entry(1))
    hub.flush()
    hub.flush()
    await clock.advance(1)
    assert len(sink.writes) == 1


@pytest.mark.parametrize("straight", [True, False])
async def test_connections_of_one_channel_share_the_bytes(straight: bool) -> None:
    """A frame is encoded and joined once, and one object goes to every socket."""
    hub = Hub()
    sinks = [live(hub, straight=straight)[1] for _ in range(3)]
    dispatch(hub, entry(1), entry(2))
    dispatch(hub, entry(3))
    for number in range(2):
        assert len({id(sink.writes[number]) for sink in sinks}) == 1
    [tail_frame] = list(hub.channels["user:a"].tail)[2:]
    assert sinks[0].writes[1] is tail_frame.chunk


@pytest.mark.parametrize("types", [(), ("t",)], ids=["shared", "its own"])
async def test_what_the_socket_does_not_take_waits_in_the_transport(types: tuple[str, ...]) -> None:
    """A part of a write goes straight to the socket, the rest and all after it by way of the transport, in order.

    So it is for the bytes that all share, and for those put together for one connection.
    """

    class Narrow(RecordingSink):
        straight = 0

        def send(self, data: bytes, /) -> int:
            assert not self.waiting, "sent past what waits"
            self.straight += 1
            self.writes.append(data[:3])
            return 3

    hub, sink = Hub(), Narrow()
    connection = Connection(["user:a"], hub.tip, types=types)
    hub.join(connection)
    connection.attach(sink, chunked=True, send=sink.send)
    announced_since(hub, connection, hub.tip)
    assert hub.advance(connection) is Advance.LIVE
    sink.stalled = True
    dispatch(hub, entry(1))
    dispatch(hub, entry(2))
    assert (sink.straight, connection.clear) == (1, False)
    sink.read()
    dispatch(hub, entry(3))
    dispatch(hub, entry(4))
    assert (sink.straight, connection.clear) == (2, True)
    assert sink.received() == [1, 2, 3, 4]


# Whose is what


async def test_a_connection_gets_its_channels_and_no_other() -> None:
    """Each is given what is its own; what is on nobody's channel is dropped, and moves the tip all the same."""
    hub = Hub()
    _, alice = live(hub, "user:a", "broadcast")
    _, bob = live(hub, "user:b", "broadcast")
    dispatch(hub, entry(1, "user:a"), entry(2, "user:b"), entry(3, "broadcast"), entry(4, "user:c"))
    assert alice.received() == [1, 3]
    assert bob.received() == [2, 3]
    assert hub.tip == EventId(4, 0)
    assert "user:c" not in hub.channels


async def test_order_holds_across_channels() -> None:
    """A connection on several channels is given all in the order of dispatch, in one write."""
    hub = Hub()
    connection, sink = live(hub, "user:a", "broadcast", "topic:x")
    names = ["topic:x", "user:a", "broadcast", "user:a", "topic:x", "broadcast"]
    dispatch(hub, *(entry(number, name) for number, name in enumerate(names, 1)))
    assert sink.received() == [1, 2, 3, 4, 5, 6]
    assert len(sink.writes) == 1
    assert connection.cursor == EventId(6, 0)


@pytest.mark.parametrize("other_channel", ["user:a", "broadcast"])
async def test_a_cursor_ahead_of_the_dispatch_gets_nothing_older(other_channel: str) -> None:
    """History may have been read past what is still under way as announcements."""
    hub = Hub()
    ahead, sink = live(hub, "user:a", "broadcast", cursor=EventId(2, 0))
    _, behind = live(hub, "user:a", "broadcast")
    dispatch(hub, entry(1), entry(2, other_channel))
    assert (sink.received(), ahead.cursor) == ([], EventId(2, 0))
    dispatch(hub, entry(3, other_channel), entry(4))
    assert (sink.received(), ahead.cursor) == ([3, 4], EventId(4, 0))
    dispatch(hub, entry(5))
    assert (sink.received(), behind.received()) == ([3, 4, 5], [1, 2, 3, 4, 5])


@pytest.mark.parametrize("other_channel", ["user:a", "broadcast"])
async def test_the_very_event_at_the_cursor_is_not_repeated(other_channel: str) -> None:
    """The last one read from history may be announced alone, or first of several."""
    hub = Hub()
    _, sink = live(hub, "user:a", "broadcast", cursor=EventId(2, 0))
    _, other = live(hub, "user:a", "broadcast", cursor=EventId(3, 0))
    dispatch(hub, entry(2, other_channel))
    dispatch(hub, entry(3), entry(4, other_channel))
    assert (sink.received(), other.received()) == ([3, 4], [4])


async def test_a_cursor_within_a_write_gets_the_later_part() -> None:
    """Of frames that are written together, each connection is given what is new to it."""
    hub = Hub()
    _, sink = live(hub, cursor=EventId(2, 0))
    _, other = live(hub)
    dispatch(hub, entry(1), entry(2), entry(3), entry(4))
    assert (sink.received(), other.received()) == ([3, 4], [1, 2, 3, 4])


@pytest.mark.parametrize("second_channel", ["user:a", "broadcast"])
async def test_types_filter_the_fan_out(second_channel: str) -> None:
    """Only wanted types are written, and the cursor passes over the others."""
    hub = Hub()
    connection, sink = live(hub, "user:a", "broadcast", types=["sync.*"])
    _, everything = live(hub, "user:a", "broadcast")
    dispatch(hub, entry(1, event_type="sync.a"), entry(2, second_channel, "other"), entry(3, event_type="sync.b"))
    assert sink.received() == [1, 3]
    dispatch(hub, entry(4, event_type="other"))
    assert (len(sink.writes), connection.cursor) == (1, EventId(4, 0))
    assert everything.received() == [1, 2, 3, 4]


@pytest.mark.parametrize("second_channel", ["user:a", "broadcast"])
async def test_http_1_0_is_served_beside_http_1_1(second_channel: str) -> None:
    """It gets the same events without the chunks' wrapping, live and from the tail."""
    hub = Hub()
    _, old = live(hub, "user:a", "broadcast", chunked=False)
    _, new = live(hub, "user:a", "broadcast")
    dispatch(hub, entry(1), entry(2, second_channel))
    dispatch(hub, entry(3))
    _, late = live(hub, "user:a", "broadcast", chunked=False, cursor=START)
    assert old.received(chunked=False) == late.received(chunked=False) == new.received() == [1, 2, 3]
    assert old.stream(chunked=False) == late.stream(chunked=False) == new.stream()


# Membership


async def test_joining_twice_is_joining_once() -> None:
    """A connection is counted once on each of its channels."""
    hub = Hub()
    connection, sink = live(hub, "user:a", "broadcast")
    hub.join(connection)
    assert [channel.members for channel in hub.channels.values()] == [1, 1]
    dispatch(hub, entry(1))
    assert sink.received() == [1]
    assert hub.leave(connection) == ["user:a", "broadcast"]


async def test_leaving_names_the_channels_that_are_empty_now_once() -> None:
    """The last to leave a channel is told so; leaving again tells nothing."""
    hub = Hub()
    alice, sink = live(hub, "user:a", "broadcast")
    bob, _ = live(hub, "user:b", "broadcast")
    hub.dispatch(entry(1))
    assert hub.leave(alice) == ["user:a"]
    assert hub.leave(alice) == []
    assert alice.state is State.CLOSED
    assert hub.leave(bob) == ["user:b", "broadcast"]
    hub.flush()
    dispatch(hub, entry(2, "broadcast"))
    assert sink.writes == []
    assert hub.connections == set()
    assert hub.leave(Connection(["user:c"])) == []


async def test_a_channel_in_use_is_not_dropped() -> None:
    """Dropping forgets a channel that nobody joined again, and only that."""
    hub = Hub()
    connection, _ = live(hub)
    assert not hub.drop("user:a")
    hub.leave(connection)
    again, _ = live(hub)
    assert not hub.drop("user:a")
    hub.leave(again)
    assert hub.drop("user:a")
    assert hub.channels == {}
    assert hub.drop("user:a")


async def test_a_channel_remembers_while_it_lingers() -> None:
    """Who comes back within the lingering time is brought forward without history."""
    hub = Hub()
    connection, _ = live(hub)
    dispatch(hub, entry(1))
    hub.leave(connection)
    dispatch(hub, entry(2), entry(3))
    _, sink = live(hub, cursor=EventId(1, 0))
    assert sink.received() == [2, 3]


async def test_a_channel_that_was_dropped_has_forgotten() -> None:
    """Whoever joins it later needs history, and what the process forgets of the old one does not matter to it."""
    hub = Hub(tail_bytes=3 * MEMORY)
    connection, _ = live(hub)
    dispatch(hub, entry(1), entry(2))
    hub.leave(connection)
    hub.drop("user:a")
    connection, _ = joined(hub, cursor=EventId(1, 0))
    assert hub.advance(connection) is Advance.NEEDS_HISTORY
    connection.cursor = EventId(2, 0)
    assert hub.advance(connection) is Advance.LIVE
    dispatch(hub, entry(3), entry(4), entry(5))
    _, sink = live(hub, cursor=EventId(2, 0))
    assert sink.received() == [3, 4, 5]


# Going live


async def test_nothing_is_written_before_a_connection_is_live() -> None:
    """What is dispatched meanwhile is held by the tail, and given when it goes live, once."""
    hub = Hub()
    connection, sink = joined(hub)
    dispatch(hub, entry(1), entry(101, retained=False))
    assert sink.writes == []
    hub.dispatch(entry(2))
    assert hub.advance(connection) is Advance.LIVE
    assert sink.received() == [1, 101, 2]
    await turn()
    dispatch(hub, entry(3))
    assert sink.received() == [1, 101, 2, 3]


async def test_what_waits_is_written_before_somebody_goes_live() -> None:
    """Frames that the tail gives to a newcomer do not reach it a second time with the flush."""
    hub = Hub()
    _, first = live(hub)
    hub.dispatch(entry(1))
    hub.dispatch(entry(101, retained=False))
    _, second = live(hub, cursor=START)
    await turn()
    assert (first.received(), second.received()) == ([1, 101], [1])


async def test_a_live_connection_stays_live() -> None:
    """Advancing it again gives it nothing twice, with an id or without."""
    hub = Hub()
    connection, sink = live(hub)
    dispatch(hub, entry(1), entry(101, retained=False))
    assert hub.advance(connection) is Advance.LIVE
    dispatch(hub, entry(2))
    assert sink.received() == [1, 101, 2]


async def test_without_a_position_history_is_needed() -> None:
    """No cursor, or a channel of which nobody knows since when it is announced: the tails cannot tell."""
    hub = Hub()
    no_cursor = Connection(["user:a"])
    hub.join(no_cursor)
    announced_since(hub, no_cursor, START)
    assert hub.advance(no_cursor) is Advance.NEEDS_HISTORY
    unknown = Connection(["user:a", "broadcast"], START)
    hub.join(unknown)
    assert hub.advance(unknown) is Advance.NEEDS_HISTORY
    assert unknown.state is State.CATCHING_UP


async def test_one_channel_that_does_not_reach_back_is_enough() -> None:
    """A connection is brought forward from the tails only when all of them cover its cursor."""
    hub = Hub()
    live(hub, "user:a")
    dispatch(hub, entry(5))
    late, sink = joined(hub, "user:a", "broadcast", cursor=EventId(4, 0))
    assert hub.advance(late) is Advance.NEEDS_HISTORY
    assert sink.writes == []
    late.cursor = EventId(5, 0)
    assert hub.advance(late) is Advance.LIVE


# Falling behind


async def test_a_slow_client_falls_behind_alone() -> None:
    """Past the limit nothing more is queued for it, the others do not notice, and it is woken to catch up."""
    hub = Hub(max_buffer=3 * SIZE)
    slow, stalled = live(hub, stalled=True)
    _, healthy = live(hub)
    for number in range(1, 4):
        dispatch(hub, entry(number))
    assert connection_state(slow) == (State.LIVE, EventId(3, 0), False)
    for number in range(4, 9):
        dispatch(hub, entry(number))
    assert connection_state(slow) == (State.BEHIND, EventId(3, 0), True)
    assert stalled.received() == [1, 2, 3]
    assert healthy.received() == list(range(1, 9))
    assert stalled.waiting <= 3 * SIZE
    assert hub.stats.fell_behind == 1


@pytest.mark.parametrize("channels", [["user:a"], ["user:a", "broadcast"]])
async def test_it_catches_up_with_exactly_what_it_missed(channels: list[str]) -> None:
    """When its socket drains, the tail gives the missed ones, in order, and then it is live again."""
    hub = Hub(max_buffer=3 * SIZE)
    slow, sink = live(hub, *channels, stalled=True)
    for number in range(1, 7):
        dispatch(hub, entry(number, channels[number % len(channels)]))
    assert sink.received() == [1, 2, 3]
    sink.read()
    assert hub.advance(slow) is Advance.LIVE
    assert sink.received() == [1, 2, 3, 4, 5, 6]
    dispatch(hub, entry(7))
    assert sink.received() == [1, 2, 3, 4, 5, 6, 7]


async def test_of_a_write_that_does_not_fit_nothing_is_written() -> None:
    """Frames of several channels that go out together are given together or not at all."""
    hub = Hub(max_buffer=12 * SIZE)
    slow, sink = live(hub, "user:a", "broadcast", stalled=True)
    dispatch(hub, *(entry(number, ["user:a", "broadcast"][number % 2], size=2 * SIZE) for number in range(1, 4)))
    dispatch(hub, *(entry(number, ["user:a", "broadcast"][number % 2], size=2 * SIZE) for number in range(4, 7)))
    assert sink.received() == [1, 2, 3]
    assert slow.state is State.BEHIND
    sink.read()
    assert hub.advance(slow) is Advance.LIVE
    assert sink.received() == [1, 2, 3, 4, 5, 6]


async def test_a_connection_that_is_behind_may_leave() -> None:
    """It is on no list that would keep it."""
    hub = Hub(max_buffer=SIZE)
    slow, sink = live(hub, "user:a", "broadcast", stalled=True)
    dispatch(hub, entry(1))
    dispatch(hub, entry(2))
    assert hub.leave(slow) == ["user:a", "broadcast"]
    dispatch(hub, entry(3))
    assert sink.received() == [1]
    assert all(not channel.live for channel in hub.channels.values())


async def test_what_does_not_fit_is_given_in_pieces() -> None:
    """Advancing a socket that fills up stops, the cursor tells where, and the next time goes on from there."""
    size = len(Frame(entry(10)).chunk)
    hub = Hub(max_buffer=8 * size)
    connection, sink = joined(hub, stalled=True)
    dispatch(hub, *(entry(number) for number in range(10, 30)))
    outcomes: list[Advance] = []
    while not outcomes or outcomes[-1] is not Advance.LIVE:
        outcomes.append(hub.advance(connection))
        assert sink.waiting <= 8 * size
        assert connection.cursor == EventId(sink.received()[-1], 0)
        sink.waiting = 0
    assert outcomes == [Advance.FULL, Advance.FULL, Advance.LIVE]
    assert sink.received() == list(range(10, 30))
    assert max(map(len, sink.writes)) <= 3 * size  # a quarter, and one event


async def test_an_event_larger_than_the_limit_locks_nobody() -> None:
    """An empty socket takes it; what follows waits until it is gone."""
    hub = Hub(max_buffer=2 * SIZE)
    connection, sink = live(hub, stalled=True)
    dispatch(hub, entry(1, size=10 * SIZE))
    assert (sink.received(), connection.state) == ([1], State.LIVE)
    dispatch(hub, entry(2))
    assert connection.state is State.BEHIND
    assert hub.advance(connection) is Advance.FULL
    sink.read()
    assert hub.advance(connection) is Advance.LIVE
    assert sink.received() == [1, 2]


async def test_events_without_an_id_are_given_once() -> None:
    """What cannot be replayed is given live, held for who is behind, and never given a second time."""
    hub = Hub(max_buffer=6 * SIZE)
    connection, sink = live(hub, stalled=True)
    dispatch(hub, entry(101, retained=False, size=6 * SIZE))
    dispatch(hub, entry(1), entry(102, retained=False), entry(2))
    dispatch(hub, entry(103, retained=False))
    assert sink.received() == [101]
    sink.read()
    assert hub.advance(connection) is Advance.LIVE
    assert sink.received() == [101, 1, 102, 2, 103]
    _, newcomer = live(hub, cursor=START)
    assert newcomer.received() == [1, 2]


@pytest.mark.parametrize("channel", ["user:a", "broadcast"])
async def test_the_first_event_that_is_missed_may_have_no_id(channel: str) -> None:
    """It is held for the client that fell behind by it."""
    hub = Hub(max_buffer=SIZE)
    connection, sink = live(hub, "user:a", "broadcast", stalled=True)
    dispatch(hub, entry(101, retained=False))
    dispatch(hub, entry(102, retained=False), entry(103, channel, retained=False))
    assert connection.state is State.BEHIND
    sink.read()
    assert hub.advance(connection) is Advance.LIVE
    assert sink.received() == [101, 102, 103]


async def test_pieces_do_not_repeat_events_without_an_id() -> None:
    """A socket that fills up between two of them is given each once."""
    hub = Hub(max_buffer=4 * SIZE)
    connection, sink = joined(hub, stalled=True)
    dispatch(hub, *(entry(number, retained=False) for number in range(101, 110)))
    while hub.advance(connection) is not Advance.LIVE:
        sink.waiting = 0
    assert sink.received() == list(range(101, 110))


async def test_history_in_between_does_not_repeat_events_without_an_id() -> None:
    """A connection that had to read history is given the held ones afterwards, once."""
    hub = Hub(max_buffer=SIZE, tail_bytes=2 * MEMORY + MEMORY // 2)
    connection, sink = live(hub, stalled=True)
    dispatch(hub, entry(1))
    for item in (entry(2), entry(3), entry(101, retained=False)):
        dispatch(hub, item)
    assert hub.advance(connection) is Advance.NEEDS_HISTORY
    sink.read()
    assert hub.give(connection, [Frame(entry(2)), Frame(entry(3))])
    assert hub.advance(connection) is Advance.LIVE
    dispatch(hub, entry(4))
    assert sink.received() == [1, 2, 3, 101, 4]


async def test_a_client_behind_is_spared_what_is_out_of_date() -> None:
    """Of events with one key it is given the newest, and none past its ttl."""
    hub = Hub()
    connection, sink = joined(hub)
    dispatch(hub, entry(1, key="k"), entry(2, ttl=1), entry(3), entry(4, key="k"))
    assert hub.advance(connection) is Advance.LIVE
    assert sink.received() == [3, 4]
    dispatch(hub, entry(5, key="k"), entry(6, key="k"), entry(7, ttl=1))
    assert sink.received() == [3, 4, 5, 6, 7]


# Memory


async def test_tails_forget_the_oldest_first() -> None:
    """The whole process has one allowance; who would need what is forgotten needs history, nobody else does."""
    hub = Hub(tail_bytes=3 * MEMORY)
    live(hub, "user:a")
    live(hub, "user:b")
    dispatch(hub, entry(1, "user:a"), entry(2, "user:b"), entry(3, "user:a"), entry(4, "user:a"))
    assert [len(channel.tail) for channel in hub.channels.values()] == [2, 1]
    too_old, _ = joined(hub, "user:a", cursor=START)
    assert hub.advance(too_old) is Advance.NEEDS_HISTORY
    _, sink = live(hub, "user:a", cursor=EventId(1, 0))
    _, other = live(hub, "user:b", cursor=START)
    assert (sink.received(), other.received()) == ([3, 4], [2])
    dispatch(hub, entry(5, "user:a"))
    outdated, _ = joined(hub, "user:b", cursor=EventId(1, 0))
    assert hub.advance(outdated) is Advance.NEEDS_HISTORY


async def test_memory_stays_within_its_allowance() -> None:
    """However much is dispatched, the tails hold no more than they may."""
    hub = Hub(tail_bytes=10 * MEMORY)
    live(hub, "user:a", "broadcast")
    for number in range(1, 200):
        dispatch(hub, entry(number, ["user:a", "broadcast"][number % 2], size=number % 7 * 100))
        held = sum(frame.memory for channel in hub.channels.values() for frame in channel.tail)
        assert 0 < held <= 10 * MEMORY


async def test_an_event_larger_than_the_allowance_is_still_delivered() -> None:
    """The live ones get it; who catches up reads history."""
    hub = Hub(tail_bytes=MEMORY)
    _, sink = live(hub)
    dispatch(hub, entry(1, size=1000))
    assert sink.received() == [1]
    late, _ = joined(hub, cursor=START)
    assert hub.advance(late) is Advance.NEEDS_HISTORY


async def test_what_was_forgotten_while_the_floor_was_being_read_is_missed() -> None:
    """A tip that was read before the tail overflowed does not let a connection skip what was lost."""
    hub = Hub(tail_bytes=2 * MEMORY)
    connection = Connection(["user:a"], START)
    hub.join(connection)
    tip_as_read = hub.tip
    dispatch(hub, entry(1), entry(2), entry(3))
    announced_since(hub, connection, tip_as_read)
    assert hub.advance(connection) is Advance.NEEDS_HISTORY


# Beginning anew


async def test_beginning_anew_trusts_no_tail() -> None:
    """What waited is written; then everybody is behind, woken, and needs history from its own cursor."""
    hub = Hub()
    connection, sink = live(hub)
    hub.dispatch(entry(1))
    hub.begin_anew(EventId(9, 0))
    assert sink.received() == [1]
    assert connection_state(connection) == (State.BEHIND, EventId(1, 0), True)
    assert hub.tip == EventId(9, 0)
    assert hub.advance(connection) is Advance.NEEDS_HISTORY
    hub.give(connection, [Frame(entry(4)), Frame(entry(9))])
    announced_since(hub, connection, EventId(9, 0))
    dispatch(hub, entry(10))
    assert hub.advance(connection) is Advance.LIVE
    assert sink.received() == [1, 4, 9, 10]


async def test_a_reading_from_before_the_new_beginning_is_not_trusted() -> None:
    """A tip that was under way when the tails were emptied says nothing about what they hold now."""
    hub = Hub()
    connection, _ = joined(hub)
    tip_as_read = EventId(3, 0)
    hub.begin_anew(EventId(9, 0))
    announced_since(hub, connection, tip_as_read)
    connection.cursor = tip_as_read
    assert hub.advance(connection) is Advance.NEEDS_HISTORY
    connection.cursor = EventId(9, 0)
    assert hub.advance(connection) is Advance.LIVE


async def test_beginning_anew_leaves_the_others_as_they_are() -> None:
    """Who was not live goes on with what it was doing, and what had no id is not given again."""
    hub = Hub(max_buffer=SIZE)
    catching_up, _ = joined(hub)
    behind, _ = live(hub, stalled=True)
    well, sink = live(hub)
    dispatch(hub, entry(1), entry(101, retained=False))
    dispatch(hub, entry(2))
    assert woken(behind)
    hub.begin_anew(EventId(2, 0))
    assert [c.state for c in (catching_up, behind, well)] == [State.CATCHING_UP, State.BEHIND, State.BEHIND]
    assert [woken(c) for c in (catching_up, behind, well)] == [False, False, True]
    announced_since(hub, well, EventId(2, 0))
    assert hub.advance(well) is Advance.LIVE
    assert sink.received() == [1, 101, 2]


async def test_ids_that_went_back_are_followed() -> None:
    """After a failover to an older history the tip is the broker's, and what comes next is delivered."""
    hub = Hub(tail_bytes=2 * MEMORY)
    hub.tip = EventId(6, 0)
    connection, sink = live(hub)
    dispatch(hub, *(entry(number) for number in (7, 8, 9)))
    hub.begin_anew(EventId(5, 0))
    connection.cursor = EventId(5, 0)
    assert hub.advance(connection) is Advance.NEEDS_HISTORY
    announced_since(hub, connection, EventId(5, 0))
    assert hub.advance(connection) is Advance.LIVE
    dispatch(hub, entry(6))
    assert sink.received() == [7, 8, 9, 6]


async def test_who_is_set_back_is_brought_forward_from_its_cursor() -> None:
    """What waits is written first; the tail then gives what the cursor has not reached, and no event without an id."""
    hub = Hub()
    connection, sink = live(hub)
    _, other = live(hub)
    dispatch(hub, entry(1), entry(101, retained=False))
    hub.dispatch(entry(2))
    hub.set_back(connection)
    assert connection_state(connection) == (State.BEHIND, EventId(2, 0), True)
    dispatch(hub, entry(3), entry(102, retained=False))
    assert (sink.received(), other.received()) == ([1, 101, 2], [1, 101, 2, 3, 102])
    assert hub.advance(connection) is Advance.LIVE
    assert sink.received() == other.received()


async def test_who_is_not_live_cannot_be_set_back() -> None:
    """It is being brought forward already, and need not be woken."""
    hub = Hub()
    connection, _ = joined(hub)
    hub.set_back(connection)
    assert connection_state(connection) == (State.CATCHING_UP, START, False)


# Telling


async def test_a_gap_is_told_and_counted() -> None:
    """The client learns from where on something may be missing, and what is still kept."""
    hub = Hub()
    connection, sink = live(hub)
    hub.tell_gap(connection, "5-0", EventId(7, 0))
    hub.tell_gap(connection, "rubbish\r\n", None)
    events = sink.parsed()[1]
    assert [event.type for event in events] == ["gateway.gap", "gateway.gap"]
    assert [json.loads(event.data) for event in events] == [
        {"requested": "5-0", "oldest": "7-0"},
        {"requested": "rubbish\r\n", "oldest": None},
    ]
    assert hub.stats.gaps_told == 2


@pytest.mark.parametrize("kind", [{}, {"types": ["t"]}, {"chunked": False}, {"cursor": EventId(1, 0)}])
async def test_everything_delivered_is_counted(kind: dict[str, Any]) -> None:
    """Events and bytes are counted for each connection that they were written to, by whichever way."""
    hub = Hub()
    _, sink = live(hub, "user:a", "broadcast", **kind)
    dispatch(hub, entry(2))
    dispatch(hub, entry(3), entry(4, event_type="u"), entry(5))
    dispatch(hub, entry(6), entry(7, "broadcast"))
    _, late = live(hub, "user:a", "broadcast", **kind | {"cursor": EventId(4, 0)})
    dispatch(hub, entry(8, "user:b"))
    sinks: list[RecordingSink] = [sink, late]
    assert hub.stats.dispatched == 7
    assert hub.stats.delivered == sum(len(s.received(chunked=kind.get("chunked", True))) for s in sinks)
    assert hub.stats.delivered_bytes == sum(len(write) for s in sinks for write in s.writes)


async def test_a_connection_that_was_closed_is_left_alone_once_it_left() -> None:
    """Closing only wakes its guide; the hub goes on until it leaves."""
    hub = Hub()
    connection, sink = live(hub)
    connection.close(CloseReason.DRAINING)
    dispatch(hub, entry(1))
    hub.leave(connection)
    dispatch(hub, entry(2))
    assert sink.received() == [1]
