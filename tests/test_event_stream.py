"""The reader of event streams: a table of the standard's examples and of its corners, whole and cut anywhere."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.event_stream import KEPT_IGNORED, Endless, Event, EventStreamParser


class Case(NamedTuple):
    name: str
    stream: bytes
    events: list[Event]
    retry: int | None = None
    comments: int = 0
    last_event_id: str = ""
    ignored: Sequence[str] = ()


def message(data: str, *, type: str = "message", id: str | None = None, last: str = "") -> Event:
    """An event with an id of its own, or with only that of the `last` one."""
    return Event(type, data, last if id is None else id, id)


CASES = [
    Case("nothing", b"", []),
    # The examples of the standard, 9.2.6.
    Case("stock quote", b"data: YHOO\ndata: +2\ndata: 10\n\n", [message("YHOO\n+2\n10")]),
    Case(
        "four blocks, the last without its empty line",
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event",
        [message("first event", id="1"), message("second event", id="")],
        comments=1,
    ),
    Case(
        "two events of empty data, the third unfinished", b"data\n\ndata\ndata\n\ndata:", [message(""), message("\n")]
    ),
    Case("the space after the colon is ignored", b"data:test\n\ndata: test\n\n", [message("test"), message("test")]),
    # Line ends.
    Case("LF", b"data: a\ndata: b\n\n", [message("a\nb")]),
    Case("CR", b"data: a\rdata: b\r\r", [message("a\nb")]),
    Case("CRLF", b"data: a\r\ndata: b\r\n\r\n", [message("a\nb")]),
    Case("mixed", b"data: a\r\ndata: b\rdata: c\n\r", [message("a\nb\nc")]),
    Case("CRLF, LF is two line ends", b"data: a\r\n\n", [message("a")]),
    Case("CR, CRLF is two line ends", b"data: a\r\r\n", [message("a")]),
    Case("a CR does not make the LF after a character its own", b"data: a\rid: 1\n\n", [message("a", id="1")]),
    Case("U+2028, U+0085 and VT end no line", "data: a\u2028b\u0085c\vd\n\n".encode(), [message("a\u2028b\u0085c\vd")]),
    # Byte order mark and encoding.
    Case("a BOM at the start is dropped", b"\xef\xbb\xbfdata: a\n\n", [message("a")]),
    Case("only one is", b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", [], ignored=["\ufeffdata: a"]),
    Case(
        "a later one belongs to its line", b"data: a\n\n\xef\xbb\xbfid: 1\n\n", [message("a")], ignored=["\ufeffid: 1"]
    ),
    Case("one within data is data", b"data: \xef\xbb\xbfa\n\n", [message("\ufeffa")]),
    Case("an empty line may follow the BOM", b"\xef\xbb\xbf\ndata: a\n\n", [message("a")]),
    Case("bytes that are no UTF-8 become U+FFFD", b"data: \xff\xe2\x82x\n\n", [message("\ufffd\ufffdx")]),
    Case("characters of two to four bytes", "data: é€😀\n\n".encode(), [message("é€😀")]),
    # Fields.
    Case("all fields", b"id: 7\nevent: e\nretry: 5\ndata: d\n\n", [message("d", type="e", id="7")], retry=5),
    Case("the last event field counts", b"event: a\nevent: b\ndata: d\n\n", [message("d", type="b")]),
    Case("an empty event field is a message", b"event: a\nevent:\ndata: d\n\n", [message("d")]),
    Case("the type is forgotten with its block", b"event: a\n\ndata: d\n\n", [message("d")]),
    Case("no data, no event", b"event: a\nid: 3\n\n", [], last_event_id="3"),
    Case(
        "fields are compared to the letter",
        b"Data: a\n data: b\ndata : c\n\n",
        [],
        ignored=["Data: a", " data: b", "data : c"],
    ),
    Case("a line without a colon is a field", b"data\nfoo\n\n", [message("")], ignored=["foo"]),
    Case("later colons belong to the value", b"data: a:b: c\n\n", [message("a:b: c")]),
    Case("one space is dropped, and no tab", b"data:  a\ndata:\tb\n\n", [message(" a\n\tb")]),
    Case("NUL within data is data", b"data: a\0b\n\n", [message("a\0b")]),
    Case("data that ends with empty lines keeps them", b"data: a\ndata\ndata\n\n", [message("a\n\n")]),
    # Ids.
    Case(
        "an id stays until another is given",
        b"id: 1\ndata: a\n\ndata: b\n\n",
        [message("a", id="1"), message("b", last="1")],
    ),
    Case(
        "an empty id takes it back", b"id: 1\ndata: a\n\nid\ndata: b\n\n", [message("a", id="1"), message("b", id="")]
    ),
    Case(
        "an id with NUL is ignored", b"id: 1\nid: 2\x003\ndata: a\n\n", [message("a", id="1")], ignored=["id: 2\x003"]
    ),
    Case("an id may hold anything else", "id: é 1:2\ndata: a\n\n".encode(), [message("a", id="é 1:2")]),
    Case("an id in an unfinished block is none", b"id: 1\n\nid: 2\n", [], last_event_id="1"),
    # Retry.
    Case("retry takes effect outside a finished block", b"retry: 10\n", [], retry=10),
    Case("retry may have leading zeros", b"retry: 007\n", [], retry=7),
    Case("the last retry counts", b"retry: 1\nretry: 2\n", [], retry=2),
    *(
        Case(
            f"retry {value!r} is none",
            b"retry: 1\nretry:%b\n" % value.encode(),
            [],
            retry=1,
            ignored=[f"retry:{value}"],
        )
        for value in ("", "  2", "2 ", "-2", "+2", "2.0", "0x2", "2s", "1_0", "٢", "²")
    ),
    # Comments.
    Case("comments", b":\n: a\n:data: b\n::\ndata: c\n\n", [message("c")], comments=4),
    Case("a comment ends no block", b"data: a\n:\ndata: b\n\n", [message("a\nb")], comments=1),
    # Unfinished blocks.
    Case("a block without its empty line", b"data: a\n", []),
    Case("a block without its last line end", b"data: a\n\ndata: b", [message("a")]),
    Case("an unfinished comment is none", b": a", []),
]


def outcome(parser: EventStreamParser, events: list[Event]) -> tuple[object, ...]:
    return events, parser.retry, parser.comments, parser.last_event_id, parser.ignored


def expected(case: Case) -> tuple[object, ...]:
    last_event_id = case.last_event_id or (case.events[-1].last_event_id if case.events else "")
    return case.events, case.retry, case.comments, last_event_id, list(case.ignored)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_table_holds_for_whole_streams(case: Case) -> None:
    """A stream that comes in one piece is read as the standard says."""
    parser = EventStreamParser()
    assert outcome(parser, parser.feed(case.stream)) == expected(case)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_table_holds_byte_by_byte(case: Case) -> None:
    """A stream that comes byte by byte is read like one that comes whole."""
    parser = EventStreamParser()
    events = [event for i in range(len(case.stream)) for event in parser.feed(case.stream[i : i + 1])]
    assert outcome(parser, events) == expected(case)


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [b"data", b"id", b"event", b"retry", b":", b" ", b"\r", b"\n", b"\0", b"7", b"\xef\xbb\xbf", b"\xff"]
        )
    ).map(b"".join),
    st.randoms(use_true_random=False),
)
def test_cutting_changes_nothing(stream: bytes, cut: random.Random) -> None:
    """However a stream is cut into pieces, empty ones included, the same is read from it."""
    whole, pieces = EventStreamParser(), EventStreamParser()
    at_once = whole.feed(stream)
    cuts = sorted(cut.randint(0, len(stream)) for _ in range(5))
    bounds = zip([0, *cuts], [*cuts, len(stream)], strict=True)
    in_pieces = [event for start, end in bounds for event in pieces.feed(stream[start:end])]
    assert outcome(pieces, in_pieces) == outcome(whole, at_once)


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_an_event_is_dispatched_with_its_last_byte(end: bytes) -> None:
    """Nothing waits for what comes next, not even a CR for the LF that may follow it."""
    parser = EventStreamParser()
    assert parser.feed(b"data: a" + end) == []
    assert parser.feed(end[:1]) == [message("a")]
    assert parser.feed(end[1:]) == []
    assert parser.feed(b"data: b" + end + end) == [message("b")]


@settings(deadline=None)
@given(st.lists(st.sampled_from([b"data: a", b"id: 1", b"event: e", b"\n", b"\r", b":", b"\xc3"])).map(b"".join))
def test_at_a_boundary_what_was_before_is_forgotten(stream: bytes) -> None:
    """A parser that says that it is at a boundary reads on like one that has read nothing but the last id."""
    used = EventStreamParser()
    used.feed(b":\n" + stream)
    if used.at_a_boundary:
        fresh = EventStreamParser(last_event_id=used.last_event_id)
        for rest in (b":\n", b"\n", b"\xa9: x\n", b"data\n\n"):
            assert used.feed(rest) == fresh.feed(rest)


@pytest.mark.parametrize("stream", [b"data: 123456789\n\n", b"data: 1234\ndata: 5678\n\n", b"0123456789"])
def test_an_event_may_be_too_long(stream: bytes) -> None:
    """What does not end is given up, byte by byte too, and not kept in memory for ever."""
    for size in (1, 100):
        parser = EventStreamParser(longest=9)
        with pytest.raises(Endless, match="more than 9 characters"):
            for at in range(0, len(stream), size):
                parser.feed(stream[at : at + size])


def test_the_limit_is_one_events() -> None:
    """Any number of events within the limit may come, with whatever lines between."""
    parser = EventStreamParser(longest=9)
    for _ in range(10):
        assert parser.feed(b":\n: heart\nid: 1\nevent: e\nda") == []
        assert parser.feed(b"ta: 1234567\n\ndata: 1") == [Event("e", "1234567", "1", "1")]
        assert parser.feed(b"\n\n") == [Event("message", "1", "1")]


def test_few_ignored_lines_are_kept() -> None:
    """A stream of nonsense does not fill the memory."""
    parser = EventStreamParser()
    parser.feed(b"nonsense\n" * 1000)
    assert parser.ignored == ["nonsense"] * KEPT_IGNORED


def test_data_is_decoded() -> None:
    """`json` is the data as a value; what is no JSON is an error."""
    assert Event("x", '{"a": [1]}').json() == {"a": [1]}
    with pytest.raises(ValueError, match="Expecting value"):
        Event("x", "hello").json()
