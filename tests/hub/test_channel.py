from __future__ import annotations

from hub.sinks import entry

from gateway.hub import Frame
from gateway.hub.channel import Channel
from gateway.ids import START, EventId


def channel(*tail: Frame, floor: EventId | None = START) -> Channel:
    made = Channel("user:a")
    for frame in tail:
        made.append(frame)
    made.floor = floor
    return made


def numbers(frames: list[Frame]) -> list[int]:
    return [int(frame.body.split()[-1]) for frame in frames]


def test_a_new_channel_covers_nothing() -> None:
    """Until it is known from where on announcements are complete, everybody needs history."""
    new = Channel("user:a")
    assert (new.name, new.members, list(new.live), list(new.tail)) == ("user:a", 0, [], [])
    assert not new.covers(START)
    assert not new.covers(EventId(9, 0))


def test_it_covers_cursors_from_the_floor_on() -> None:
    """A cursor at the floor has missed nothing; one below may have."""
    known = channel(floor=EventId(5, 0))
    assert not known.covers(EventId(4, 9))
    assert known.covers(EventId(5, 0))
    assert known.covers(EventId(6, 0))


def test_what_was_forgotten_is_not_covered() -> None:
    """Forgetting from the front raises what a cursor must have reached."""
    frames = [Frame(entry(n), n) for n in (1, 2, 3)]
    known = channel(*frames)
    known.forget_oldest(frames[0])
    assert numbers(known.after(START, 0)) == [2, 3]
    assert not known.covers(EventId(0, 9))
    assert known.covers(EventId(1, 0))


def test_what_was_forgotten_before_the_floor_was_known_is_not_covered() -> None:
    """A floor that was read before the tail lost its beginning does not hide the loss."""
    frames = [Frame(entry(n), n) for n in (1, 2, 3)]
    known = channel(*frames, floor=None)
    known.forget_oldest(frames[0])
    known.forget_oldest(frames[1])
    known.floor = START
    assert not known.covers(START)
    assert not known.covers(EventId(1, 0))
    assert known.covers(EventId(2, 0))


def test_what_it_is_told_to_lack_is_not_covered() -> None:
    """A loss within the tail counts like one at its beginning, and a smaller one does not undo a larger."""
    known = channel(Frame(entry(1), 1), Frame(entry(9), 2))
    known.lacks(EventId(5, 0))
    known.lacks(EventId(3, 0))
    assert not known.covers(EventId(4, 0))
    assert known.covers(EventId(5, 0))


def test_forgetting_a_frame_it_does_not_hold_changes_nothing() -> None:
    """The process forgets in its own order; a tail that was emptied meanwhile has nothing to lose."""
    stale, kept = Frame(entry(1), 1), Frame(entry(5), 2)
    known = channel(kept)
    known.forget_oldest(stale)
    assert list(known.tail) == [kept]
    assert known.covers(START)
    empty = channel()
    empty.forget_oldest(stale)
    assert empty.covers(START)


def test_forgetting_a_frame_without_an_id_uncovers_nobody() -> None:
    """It could not have been replayed from history either."""
    frame = Frame(entry(1, retained=False), 1)
    known = channel(frame)
    known.forget_oldest(frame)
    assert not known.tail
    assert known.covers(START)


def test_after_gives_ids_by_cursor_and_the_rest_by_serial() -> None:
    """Frames come in order; those without an id only when they were dispatched after the serial."""
    tail = [
        Frame(entry(1), 1),
        Frame(entry(101, retained=False), 2),
        Frame(entry(2), 3),
        Frame(entry(102, retained=False), 4),
        Frame(entry(3), 5),
    ]
    known = channel(*tail)
    assert numbers(known.after(START, 0)) == [1, 101, 2, 102, 3]
    assert numbers(known.after(START, 9)) == [1, 2, 3]
    assert numbers(known.after(EventId(2, 0), 9)) == [3]
    assert numbers(known.after(EventId(2, 0), 3)) == [102, 3]
    assert numbers(known.after(EventId(9, 0), 1)) == [101, 102]
    assert numbers(known.after(EventId(9, 0), 9)) == []


def test_a_quiet_channel_has_no_deque() -> None:
    """Most channels are one user's, and have had no event: a deque would be a tenth of what such a stream takes."""
    quiet = Channel("user:a")
    assert quiet.tail == ()
    only = Frame(entry(1), 1)
    quiet.append(only)
    assert list(quiet.tail) == [only]
    quiet.forget_oldest(only)
    assert quiet.tail == ()
    quiet.forget_oldest(only)
    assert quiet.tail == ()
    quiet.append(Frame(entry(2), 2))
    quiet.forget_all()
    assert quiet.tail == ()
