from __future__ import annotations

import pytest
from hub.sinks import entry

from gateway.events import Entry
from gateway.frames import chunk, event_frame
from gateway.hub import Frame
from gateway.hub.frame import join, worth_replaying
from gateway.ids import EventId


def test_a_frame_is_the_event_as_a_chunk() -> None:
    """Its bytes are the event's, wrapped once; without the wrapping it is what HTTP/1.0 is sent."""
    frame = Frame(Entry("user:a", EventId(7, 1), "t", b'{"a":1}', retry=5), serial=3)
    body = event_frame("t", b'{"a":1}', id=EventId(7, 1), retry=5)
    assert frame.body == body
    assert frame.chunk == chunk(body)
    assert (frame.id, frame.event_type, frame.serial) == (EventId(7, 1), "t", 3)


@pytest.mark.parametrize("data", [b"", b"1", b"x" * 300, b"\r\n\r\n", b"1\r\n2"])
def test_the_body_is_found_whatever_it_holds(data: bytes) -> None:
    """Line ends within the data, and sizes of several digits, do not confuse the unwrapping."""
    assert Frame(Entry("user:a", None, "t", data)).body == event_frame("t", data)


def test_memory_grows_with_the_bytes() -> None:
    """What a frame counts for is at least what it holds."""
    small, large = Frame(entry(1)), Frame(entry(1, size=10_000))
    assert small.memory > len(small.chunk)
    assert large.memory - small.memory == len(large.chunk) - len(small.chunk)


def test_one_frame_is_joined_without_a_copy() -> None:
    """The usual case shares the frame's own bytes."""
    one, other = Frame(entry(1)), Frame(entry(2))
    assert join([one]) is one.chunk
    assert join([one, other]) == one.chunk + other.chunk


def test_an_event_expires_its_ttl_after_it_was_published() -> None:
    """The id holds the time of publishing; what has no id is never replayed, so never expires."""
    assert Frame(entry(5_000, ttl=1.5)).expires_ms == 6_500
    assert Frame(entry(5_000)).expires_ms is None
    assert Frame(entry(5_000, ttl=1.5, retained=False)).expires_ms is None


@pytest.mark.parametrize(
    ("entries", "now_ms", "worth"),
    [
        ([], 0, []),
        ([entry(1), entry(2)], 0, [1, 2]),
        # ttl
        ([entry(1000, ttl=1), entry(1001)], 1999, [1000, 1001]),
        ([entry(1000, ttl=1), entry(1001)], 2000, [1001]),
        ([entry(1000, ttl=0)], 1000, []),
        ([entry(1000, ttl=1), entry(1500, ttl=1)], 2100, [1500]),
        # key
        ([entry(1, key="k"), entry(2, key="k"), entry(3, key="k")], 0, [3]),
        ([entry(1, key="k"), entry(2), entry(3, key="l"), entry(4, key="k")], 0, [2, 3, 4]),
        ([entry(1, "user:a", key="k"), entry(2, "user:b", key="k")], 0, [1, 2]),
        ([entry(1, retained=False, key="k"), entry(2, retained=False, key="k")], 0, [2]),
        # both: the newest of a key stands for all, though it is past its time
        ([entry(1000, key="k"), entry(1001, key="k", ttl=1)], 9_999, []),
        ([entry(1000, key="k", ttl=1), entry(1001, key="k")], 9_999, [1001]),
    ],
)
def test_what_is_worth_replaying(entries: list[Entry], now_ms: float, worth: list[int]) -> None:
    """Not what is past its ttl, and of one key in one channel only the newest; the rest stays in order."""
    assert [int(frame.body.split()[-1]) for frame in worth_replaying([Frame(e) for e in entries], now_ms)] == worth
