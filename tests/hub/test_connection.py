from __future__ import annotations

import pytest
from hub.clock import Clock
from hub.sinks import RecordingSink, Woken, entry, woken

from gateway.frames import heartbeat_frame, retry_frame
from gateway.hub import CloseReason, Connection, Frame, State
from gateway.hub.connection import Written
from gateway.ids import START, EventId

NO_LIMIT = 10**9


def attached(
    cursor: EventId | None = START, *, types: tuple[str, ...] = (), chunked: bool = True, stalled: bool = False
) -> tuple[Connection, RecordingSink]:
    connection = Connection(["user:a"], cursor, types=types)
    sink = RecordingSink(stalled=stalled)
    connection.guide = Woken()
    connection.attach(sink, chunked=chunked)
    return connection, sink


def frames(*numbers: int, retained: bool = True) -> list[Frame]:
    return [Frame(entry(number, retained=retained)) for number in numbers]


async def test_a_new_connection_catches_up() -> None:
    """It begins behind the tip, with nothing decided; a channel named twice is one channel."""
    connection = Connection(["user:a", "broadcast", "user:a"], EventId(3, 0), unknown="x")
    assert connection.channels == ("user:a", "broadcast")
    assert (connection.cursor, connection.unknown, connection.types) == (EventId(3, 0), "x", ())
    assert (connection.state, connection.close_reason) == (State.CATCHING_UP, None)
    assert connection.guide is None


async def test_what_is_given_is_one_write_and_moves_the_cursor() -> None:
    """However many frames, the socket is written to once."""
    connection, sink = attached()
    given = frames(1, 2, 3)
    assert connection.give(given, NO_LIMIT) == Written(3, sum(len(frame.chunk) for frame in given))
    assert len(sink.writes) == 1
    assert sink.received() == [1, 2, 3]
    assert connection.cursor == EventId(3, 0)


async def test_what_it_has_been_given_is_not_given_again() -> None:
    """Frames up to the cursor are left out."""
    connection, sink = attached(EventId(2, 0))
    connection.give(frames(1, 2, 3), NO_LIMIT)
    assert sink.received() == [3]
    assert connection.give(frames(1, 2, 3), NO_LIMIT) == Written(0, 0)
    assert len(sink.writes) == 1
    assert connection.cursor == EventId(3, 0)


async def test_frames_without_an_id_are_given_and_move_nothing() -> None:
    """They have no place in the order of ids."""
    connection, sink = attached(EventId(2, 0))
    connection.give(frames(8, 9, retained=False), NO_LIMIT)
    assert sink.received() == [8, 9]
    assert connection.cursor == EventId(2, 0)
    connection.give([*frames(3), *frames(10, retained=False)], NO_LIMIT)
    assert connection.cursor == EventId(3, 0)


async def test_without_a_cursor_everything_is_new() -> None:
    """A connection that has not been given a position takes what comes."""
    connection, sink = attached(None)
    connection.give(frames(1, 2), NO_LIMIT)
    assert sink.received() == [1, 2]
    assert connection.cursor == EventId(2, 0)


async def test_a_cursor_that_the_broker_does_not_know_is_told() -> None:
    """The connection begins at the beginning, and what it asked for is kept to be told as a gap."""
    connection = Connection(["user:a"], EventId(9, 0))
    connection.forget_cursor()
    assert (connection.unknown, connection.cursor) == ("9-0", START)


async def test_types_filter_what_is_written_and_not_the_cursor() -> None:
    """What is not wanted is passed over for good."""
    connection, sink = attached(types=("sync.*", "a"))
    kinds = ["sync.done", "sync", "a", "a.b", "b"]
    given = [Frame(entry(number, event_type=kind)) for number, kind in enumerate(kinds, 1)]
    assert connection.give(given, NO_LIMIT) == Written(2, len(sink.writes[0]))
    assert sink.received() == [1, 3]
    assert connection.cursor == EventId(5, 0)
    assert connection.give([Frame(entry(6, event_type="b"))], NO_LIMIT) == Written(0, 0)
    assert len(sink.writes) == 1
    assert connection.cursor == EventId(6, 0)


async def test_no_types_are_all_types() -> None:
    """Without a filter everything is wanted."""
    assert Connection(["user:a"]).wants("anything")
    assert not Connection(["user:a"], types=["a"]).wants("anything")


async def test_what_does_not_fit_is_not_given() -> None:
    """When more than the limit would wait, nothing is written and the cursor stays."""
    connection, sink = attached(stalled=True)
    [first], [second] = frames(1), frames(2)
    limit = len(first.chunk) + len(second.chunk)
    assert connection.give([first], limit)
    assert connection.give([second], limit - 1) is None
    assert (len(sink.writes), connection.cursor) == (1, EventId(1, 0))
    assert connection.give([second], limit)
    assert (sink.received(), connection.cursor) == ([1, 2], EventId(2, 0))


async def test_what_is_not_wanted_always_fits() -> None:
    """A full socket does not keep the cursor from passing over other types."""
    connection, sink = attached(types=("a",), stalled=True)
    sink.waiting = 10**6
    assert connection.give(frames(1), limit=1) == Written(0, 0)
    assert connection.cursor == EventId(1, 0)


async def test_an_empty_socket_takes_any_size() -> None:
    """An event over the limit cannot lock a connection."""
    connection, sink = attached(stalled=True)
    assert connection.give([Frame(entry(1, size=1000))], limit=10)
    assert sink.received() == [1]


async def test_http_1_0_gets_no_chunks() -> None:
    """The body ends with the connection, and holds nothing but the event stream."""
    connection, sink = attached(chunked=False)
    connection.put(retry_frame(3000))
    connection.give(frames(1, 2), NO_LIMIT)
    assert sink.received(chunked=False) == [1, 2]
    assert sink.writes[0] == b"retry: 3000\n\n"


async def test_the_gateways_own_frames_are_chunks() -> None:
    """`put` wraps what it writes like everything else."""
    connection, sink = attached()
    connection.put(heartbeat_frame(None))
    assert sink.writes == [b"3\r\n:\n\n\r\n"]


async def test_only_plain_connections_share_bytes() -> None:
    """Those with a filter or without chunks need bytes of their own."""
    assert attached()[0].plain
    assert not attached(types=("a",))[0].plain
    assert not attached(chunked=False)[0].plain
    assert not Connection(["user:a"]).plain


async def test_attaching_counts_as_being_sent_something(clock: Clock) -> None:
    """The headers went out just before: the first heartbeat is due an interval later."""
    assert Connection(["user:a"]).sent_at == 0
    assert attached()[0].sent_at == clock.now


async def test_something_said_to_no_socket_or_a_closed_stream_is_nothing() -> None:
    """`say` may be called at any time of a connection's life."""
    unattached = Connection(["user:a"])
    unattached.say("gateway.expiring", {})
    connection, sink = attached()
    connection.say("gateway.expiring", {})
    connection.close(CloseReason.AGE)
    connection.say("gateway.expiring", {})
    assert len(sink.writes) == 1


@pytest.mark.parametrize("second", list(CloseReason))
async def test_the_first_reason_to_close_is_the_one_told(second: CloseReason) -> None:
    """Closing wakes whoever guides the connection; closing again changes nothing."""
    connection, _ = attached()
    connection.close(CloseReason.EXPIRED)
    assert woken(connection)
    connection.close(second)
    assert connection.close_reason is CloseReason.EXPIRED
    assert not woken(connection)
