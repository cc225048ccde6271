from __future__ import annotations

import json
import re

import pytest
from hub.chunks import dechunked
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.encodings import EVENT_STREAM
from gateway.event_stream import Event, EventStreamParser
from gateway.events import SSEEvent
from gateway.frames import chunk, cursor_frame, event_frame, heartbeat_frame, retry_frame
from gateway.ids import EventId

AN_ID = EventId(1_764_000_000_000, 7)

TABLE = [
    (event_frame("a", b"1"), b"event: a\ndata: 1\n\n"),
    (event_frame("a", b"1", id=AN_ID), b"id: 1764000000000-7\nevent: a\ndata: 1\n\n"),
    (event_frame("a", b"1", retry=0), b"retry: 0\nevent: a\ndata: 1\n\n"),
    (event_frame("a", b"1", id=EventId(1, 0), retry=5), b"id: 1-0\nretry: 5\nevent: a\ndata: 1\n\n"),
    (event_frame("a", b""), b"event: a\ndata: \n\n"),
    (event_frame("a", b"1\n2"), b"event: a\ndata: 1\ndata: 2\n\n"),
    (event_frame("a", b"1\r2"), b"event: a\ndata: 1\ndata: 2\n\n"),
    (event_frame("a", b"1\r\n2"), b"event: a\ndata: 1\ndata: 2\n\n"),
    (event_frame("a", b"\r\r\n\n"), b"event: a\ndata: \ndata: \ndata: \ndata: \n\n"),
    (EVENT_STREAM.control("gateway.gap", {"oldest": None}), b'event: gateway.gap\ndata: {"oldest":null}\n\n'),
    (EVENT_STREAM.control("gateway.reconnect", {}, retry=9), b"retry: 9\nevent: gateway.reconnect\ndata: {}\n\n"),
    (retry_frame(3000), b"retry: 3000\n\n"),
    (cursor_frame(AN_ID), b"id: 1764000000000-7\n\n"),
    (heartbeat_frame(None), b":\n\n"),
    (heartbeat_frame(AN_ID), b":\nid: 1764000000000-7\n\n"),
    (chunk(b"x" * 26), b"1a\r\n" + b"x" * 26 + b"\r\n"),
]


@pytest.mark.parametrize(("frame", "written"), TABLE, ids=[ascii(written[:40]) for _, written in TABLE])
def test_the_bytes(frame: bytes, written: bytes) -> None:
    """Every frame is written in one fixed way."""
    assert frame == written


def read(*frames: bytes) -> tuple[EventStreamParser, list[Event]]:
    """What a client makes of the frames, which must mean something to the last line."""
    parser = EventStreamParser()
    events = parser.feed(b"".join(frames))
    assert parser.ignored == []
    return parser, events


nasty = st.lists(
    st.sampled_from(["\r", "\n", "\r\n", "\0", "\u2028", "\u2029", "\x85", "\v", "\f", "\ufeff", ":", " ", "a", "é"])
    | st.sampled_from(["data: forged", "event: forged", "id: 9-9", "retry: 1", ": comment", "\n\n", "\r\r"])
).map("".join)
texts = nasty | st.text(st.characters(exclude_categories=["Cs"]))
event_types = st.from_regex(r"[A-Za-z0-9_.:-]{1,128}", fullmatch=True)
event_ids = st.builds(EventId, st.integers(0, 10**16 - 1), st.integers(0, 10**10 - 1))


@settings(deadline=None)
@given(event_types, texts, st.none() | event_ids, st.none() | st.integers(0, 3_600_000))
@example("a", "\n\nevent: forged\ndata: forged\n\n", None, None)
@example("a", "\r\rid: 9-9\r\r", EventId(1, 0), None)
@example("a", "\ufeff", None, None)
@example("a", "", None, None)
def test_no_text_can_forge_a_field(event_type: str, text: str, id: EventId | None, retry: int | None) -> None:
    """Whatever the data, a client reads one event with this type, id and retry, and the data with LF line ends."""
    parser, events = read(event_frame(event_type, text.encode(), id=id, retry=retry))
    as_read = re.sub("\r\n|\r", "\n", text)
    own_id = None if id is None else str(id)
    assert events == [Event(event_type, as_read, own_id or "", own_id)]
    assert (parser.retry, parser.comments) == (retry, 0)


@settings(deadline=None)
@given(st.binary())
def test_no_bytes_can_forge_a_field(data: bytes) -> None:
    """Even data that is no UTF-8 stays within its event."""
    parser, events = read(event_frame("a", data, id=AN_ID), event_frame("b", b"2"))
    assert [event.type for event in events] == ["a", "b"]
    assert [event.last_event_id for event in events] == [str(AN_ID)] * 2
    assert (parser.retry, parser.comments) == (None, 0)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None)
@given(event_types.filter(lambda name: not name.startswith("gateway.")), json_values)
def test_every_event_comes_back_as_it_was_made(event_type: str, data: object) -> None:
    """The JSON that a client reads is the data that was published."""
    _, [event] = read(event_frame(event_type, SSEEvent(event_type, data=data).data_json))
    assert event.type == event_type
    assert json.loads(event.data) == data


OFF_GRAMMAR = ["", "a b", "a\n", "a\r", "a\nid: 9-9", "a\0", "é", "\u2028", "\ufeffa", "\ud800", "x" * 129, "a\n\n"]


@pytest.mark.parametrize("event_type", OFF_GRAMMAR, ids=ascii)
def test_a_type_off_the_grammar_is_refused(event_type: str) -> None:
    """Nothing that could end the line of `event:` gets there."""
    with pytest.raises(ValueError, match="event_type"):
        event_frame(event_type, b"1")
    with pytest.raises(ValueError, match="event_type"):
        EVENT_STREAM.control(event_type, {})


@given(st.text())
def test_a_control_frame_holds_any_text(text: str) -> None:
    """What a client sent as its cursor can be told back to it, whatever it was."""
    _, [event] = read(EVENT_STREAM.control("gateway.gap", {"requested": text}))
    assert json.loads(event.data) == {"requested": text}


def test_a_stream_of_all_frames_is_understood() -> None:
    """Retry, cursor and heartbeats dispatch nothing, and move what they should."""
    first = read(retry_frame(3000), cursor_frame(EventId(1, 0)))
    assert (first[1], first[0].retry, first[0].last_event_id) == ([], 3000, "1-0")
    parser, events = read(
        retry_frame(3000),
        cursor_frame(EventId(1, 0)),
        heartbeat_frame(None),
        event_frame("a", b"1", id=EventId(2, 0)),
        EVENT_STREAM.control("gateway.expiring", {"seconds": 30}),
        heartbeat_frame(EventId(3, 0)),
        event_frame("b", b"2"),
    )
    assert events == [
        Event("a", "1", "2-0", "2-0"),
        Event("gateway.expiring", '{"seconds":30}', "2-0"),
        Event("b", "2", "3-0"),
    ]
    assert (parser.retry, parser.comments, parser.last_event_id) == (3000, 2, "3-0")


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=8))
@example([b"\r\n", b"0\r\n\r\n", b"a" * 16, b"a" * 255, b"a" * 256])
def test_joined_chunks_come_apart_again(bodies: list[bytes]) -> None:
    """Chunks written one after the other are read as the bodies they were made of."""
    assert dechunked(b"".join(map(chunk, bodies))) == bodies
