"""What several legs of one stream write: the same ids, whichever of them moves, and never past the others."""

from __future__ import annotations

from hub.chunks import dechunked
from hub.sinks import RecordingSink, entry

from gateway.hub import Frame, Leg, Legs
from gateway.ids import START, EventId

NO_LIMIT = 10**9


def standing(
    *cursors: EventId | None, unknown: str | None = None, chunked: bool = True
) -> tuple[list[Leg], RecordingSink]:
    """Legs in the partitions 5, 6, …, of which the first is the user's, over one socket."""
    legs, sink = Legs(), RecordingSink()
    made = [
        Leg(legs, 5 + n, [f"topic:{n}"], cursor, unknown=None if n else unknown) for n, cursor in enumerate(cursors)
    ]
    for leg in made:
        leg.attach(sink, chunked=chunked, send=sink.send)
    return made, sink


async def test_every_id_tells_all_positions() -> None:
    """Whichever leg is given an event, and of several in one write each its own."""
    (own, other), sink = standing(EventId(3, 0), EventId(7, 0))
    own.give([Frame(entry(4)), Frame(entry(5))], NO_LIMIT)
    other.give([Frame(entry(8))], NO_LIMIT)
    body = b"".join(dechunked(b"".join(sink.writes)))
    ids = [line for line in body.split(b"\n") if line.startswith(b"id:")]
    assert ids == [b"id: 4-0,6:7-0", b"id: 5-0,6:7-0", b"id: 5-0,6:8-0"]
    assert own.position() == other.position() == b"id: 5-0,6:8-0\n\n"


async def test_a_leg_never_writes_past_the_transport() -> None:
    """What another leg left there would come after it."""
    made, _ = standing(EventId(3, 0), EventId(7, 0))
    assert not any(leg.clear or leg.plain for leg in made)
    assert [leg.part_of_another for leg in made] == [False, True]


async def test_no_id_before_all_positions_are_known() -> None:
    """Nor while all are at the beginning: there is nothing to come back with."""
    for cursors in ((EventId(3, 0), None), (None, EventId(3, 0)), (START, START)):
        (own, _), _ = standing(*cursors)
        assert own.position() == b""
    (own, _), _ = standing(START, EventId(3, 0))
    assert own.position() == b"id: 0-0,6:3-0\n\n"


async def test_a_position_that_the_broker_does_not_know_is_not_lost() -> None:
    """Until the gap was told, the client comes back with it, and is told then."""
    (own, other), sink = standing(EventId(3, 0), EventId(7, 0))
    other.forget_cursor()
    own.give([Frame(entry(4))], NO_LIMIT)
    assert b"id: 4-0,6:7-0\n" in b"".join(sink.writes)
    other.give([Frame(entry(1))], NO_LIMIT)
    assert b"id: 4-0,6:1-0\n" in b"".join(sink.writes)
    other.unknown = None
    assert own.position() == b"id: 4-0,6:1-0\n\n"


async def test_what_was_no_position_at_all_is_not_lost_either() -> None:
    """Other legs' events have no id until the gap was told, so that the client comes back with what it had."""
    (own, other), sink = standing(START, START, unknown="nonsense", chunked=False)
    other.give([Frame(entry(4))], NO_LIMIT)
    assert b"id:" not in b"".join(sink.writes)
    own.unknown = None
    assert own.position() == b"id: 0-0,6:4-0\n\n"
