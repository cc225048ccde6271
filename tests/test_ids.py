from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.errors import InvalidRequest
from gateway.ids import EARLIEST, MOST_OTHERS, START, EventId, Positions, parse_cursor, parse_positions

MOST_MS, MOST_SEQ = 10**16 - 1, 10**10 - 1
event_ids = st.builds(EventId, st.integers(0, MOST_MS), st.integers(0, MOST_SEQ))

GOOD = [
    ("0-0", EventId(0, 0)),
    ("0-1", EventId(0, 1)),
    ("1764000000000-0", EventId(1_764_000_000_000, 0)),
    ("1764000000000-42", EventId(1_764_000_000_000, 42)),
    ("9999999999999999-9999999999", EventId(MOST_MS, MOST_SEQ)),
]

HOSTILE = [
    "",
    "-",
    "+",
    "$",
    ">",
    "*",
    "0",
    "1-",
    "-1",
    "1-*",
    "(1-0",
    "[1-0",
    "1-0-0",
    "1--0",
    "-1-0",
    "1--1",
    "+1-0",
    "01-0",
    "1-00",
    "00-0",
    "1_0-0",
    "1.0-0",
    "1e3-0",
    "0x1-0",
    " 1-0",
    "1-0 ",
    "1-0\n",
    "\n1-0",
    "1-0\r\ndata: forged",
    "1-0\0",
    "1 - 0",
    "1\u20130",  # an en dash
    "١-٢",  # digits, but not these
    "²-0",
    "１-０",
    "\ud800",
    "\ufeff1-0",
    "1" * 17 + "-0",
    "1-" + "1" * 11,
    "9" * 100_000 + "-0",
    "EARLIEST",
    "earliest ",
    "None",
    "null",
]


@pytest.mark.parametrize(("text", "id"), GOOD)
def test_an_id_is_read_and_written(text: str, id: EventId) -> None:
    """The canonical form stands for one id, and the id for that form."""
    assert EventId.parse(text) == id
    assert parse_cursor(text) == id
    assert str(id) == f"{id}" == text


@pytest.mark.parametrize("text", [*HOSTILE, EARLIEST], ids=lambda text: ascii(text[:24]))
def test_what_is_no_id_is_refused(text: str) -> None:
    """Anything but the canonical form raises, and the error does not repeat what was sent."""
    with pytest.raises(InvalidRequest) as caught:
        EventId.parse(text)
    assert caught.value.field == "id"
    assert len(text) < 4 or text not in str(caught.value)


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:24]))
def test_what_is_no_cursor_is_none(text: str) -> None:
    """A client that sends nonsense is told a gap instead of getting an error."""
    assert parse_cursor(text) is None


def test_earliest_asks_for_all() -> None:
    """The word stands for a cursor before every event."""
    assert parse_cursor(EARLIEST) == START == EventId(0, 0)


@given(event_ids)
@example(EventId(MOST_MS, MOST_SEQ))
def test_every_id_survives_the_wire(id: EventId) -> None:
    """What is written is read back as the same id."""
    assert EventId.parse(str(id)) == parse_cursor(str(id)) == id


almost_ids = st.text(st.sampled_from("0123456789-+ .\n\r\0_eEx١²\ud800"), max_size=24)


@given(st.text(st.characters()) | almost_ids)
def test_no_text_breaks_the_reading_of_cursors(text: str) -> None:
    """Whatever a client sends is a cursor in canonical form, `earliest`, or none."""
    cursor = parse_cursor(text)
    assert cursor is None or text == EARLIEST or str(cursor) == text


@given(event_ids, event_ids)
def test_ids_compare_as_numbers(a: EventId, b: EventId) -> None:
    """The order is that of the milliseconds, then of the sequence; never that of the text."""
    assert (a < b) == (a.ms < b.ms or (a.ms == b.ms and a.seq < b.seq))
    assert (a == b) == (str(a) == str(b))


def test_ten_comes_after_nine() -> None:
    """Ids of different lengths compare rightly."""
    assert EventId.parse("9-9") < EventId.parse("9-10") < EventId.parse("10-0")


# Positions in several partitions

positions = st.builds(Positions, event_ids, st.dictionaries(st.integers(0, 999), event_ids, max_size=MOST_OTHERS))


@given(positions)
def test_positions_come_back_as_they_went(given: Positions) -> None:
    """What is written is read again, and is an id that every client keeps: ASCII, at most 256 bytes."""
    text = str(given)
    assert parse_positions(text) == given
    assert len(text.encode("ascii")) <= 256


def test_a_cursor_is_a_position_in_the_own_partition() -> None:
    """So a stream may come back with fewer or more topics than it had."""
    assert parse_positions("5-0") == Positions(EventId(5, 0), {})
    assert parse_positions(EARLIEST) == Positions(START, {})


NO_POSITIONS = [
    "1-0,",
    "1-0,3",
    "1-0,3:",
    "1-0,3:1",
    "1-0,:1-0",
    "1-0,03:1-0",
    "1-0,3:1-0,",
    "1-0,3:1-0,3:2-0",
    "1-0,3:1-0,2:1-0",
    "1-0, 3:1-0",
    "1-0,1000:1-0",
    "1-0,-1:1-0",
    "1-0" + "".join(f",{number}:1-0" for number in range(MOST_OTHERS + 1)),
]


@pytest.mark.parametrize("text", [*HOSTILE, *NO_POSITIONS])
def test_what_are_no_positions(text: str) -> None:
    """One that is malformed, doubled, out of order or too long is none at all."""
    assert parse_positions(text) is None
