from __future__ import annotations

import dataclasses
import enum
import json
import sys
from collections import UserDict
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import InvalidEvent
from gateway.events import FIELDS, MAX_RETRY_MS, MAX_TTL, Entry, SSEEvent
from gateway.ids import EventId

A_UUID = UUID("12345678-1234-5678-1234-567812345678")
CET = timezone(timedelta(hours=1))


class Kind(enum.StrEnum):
    DONE = "sync.done"


class OldKind(str, enum.Enum):  # noqa: UP042  # what code written before Python 3.11 has
    DONE = "sync.done"


class Bytes(bytes):
    pass


class Sly(str):
    """Text that calls itself something else."""

    def __str__(self) -> str:
        return "x\r\ndata: forged"


# What is given for a field, and what the event then holds.
GOOD: list[tuple[str, Any, Any]] = [
    ("event_type", "a", "a"),
    ("event_type", "sync.accounts:done_1-B", "sync.accounts:done_1-B"),
    ("event_type", "x" * 128, "x" * 128),
    ("event_type", Kind.DONE, "sync.done"),
    ("event_type", OldKind.DONE, "sync.done"),
    ("event_type", Sly("a"), "a"),
    ("event_type", "gateway", "gateway"),
    ("event_type", "gatewayed.x", "gatewayed.x"),
    ("user_id", None, None),
    ("user_id", "alice@example.com", "alice@example.com"),
    ("user_id", A_UUID, str(A_UUID)),
    ("user_id", Kind.DONE, "sync.done"),
    ("user_id", OldKind.DONE, "sync.done"),
    ("id", None, None),
    ("id", "a", "a"),
    ("id", "!~" * 128, "!~" * 128),
    ("id", OldKind.DONE, "sync.done"),
    ("key", None, None),
    ("key", Sly("a"), "a"),
    ("key", "user:7/%", "user:7/%"),
    ("occurred_at", None, None),
    ("occurred_at", datetime(2025, 1, 2, tzinfo=UTC), datetime(2025, 1, 2, tzinfo=UTC)),
    ("occurred_at", "2025-01-02T03:04:05Z", datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)),
    ("occurred_at", "2025-01-02T03:04:05.678+01:00", datetime(2025, 1, 2, 3, 4, 5, 678_000, tzinfo=CET)),
    ("retry", None, None),
    ("retry", 0, 0),
    ("retry", MAX_RETRY_MS, MAX_RETRY_MS),
    ("retry", 3.0, 3),
    ("ttl", None, None),
    ("ttl", 0, 0),
    ("ttl", 0.5, 0.5),
    ("ttl", MAX_TTL, MAX_TTL),
]

OFF_GRAMMAR = [
    "",
    " ",
    "a b",
    " a",
    "a ",
    "a\n",
    "\na",
    "a\r",
    "a\r\nb",
    "a\tb",
    "a\0b",
    "a\x7f",
    "a\x85",
    "é",
    "a\u2028b",
]
OFF_GRAMMAR += ["\ufeffa", "\ud800", "a\udfff", "١"]
NO_TEXT = [42, 4.2, True, b"a", Bytes(b"a"), ["a"], {"a": 1}, object()]
NO_NUMBER = [
    "1",
    "",
    b"1",
    [1],
    True,
    False,
    float("nan"),
    float("inf"),
    float("-inf"),
    -1,
    -0.1,
    10**400,
    Decimal(1),
    1j,
]

BAD: list[tuple[str, Any]] = [
    *(("event_type", value) for value in [*OFF_GRAMMAR, *NO_TEXT, None, A_UUID, "x" * 129, "a/b", "a@b", "a*"]),
    *(("event_type", value) for value in ["gateway.gap", "gateway.", "gateway.x.y"]),
    *(("user_id", value) for value in [*OFF_GRAMMAR, *NO_TEXT, "x" * 129, "a/b", "..", A_UUID.bytes]),
    *(("id", value) for value in [*OFF_GRAMMAR, *NO_TEXT, A_UUID, "x" * 257]),
    *(("key", value) for value in [*OFF_GRAMMAR, *NO_TEXT, A_UUID, "x" * 257]),
    *(
        ("occurred_at", value)
        for value in [*OFF_GRAMMAR, *NO_TEXT, date(2025, 1, 2), "yesterday", "2025-13-01T00:00:00Z"]
    ),
    *(("occurred_at", value) for value in ["1764000000", "2025-01-02T03:04:05Z\n", "\ud8002025-01-02"]),
    *(("retry", value) for value in [*NO_NUMBER, 1.5, MAX_RETRY_MS + 1]),
    *(("ttl", value) for value in [*NO_NUMBER, MAX_TTL + 1, timedelta(1)]),
]


def event(**fields: Any) -> SSEEvent:
    return SSEEvent(**({"event_type": "a"} | fields))


def shown(value: object) -> str:
    return ascii(value)[:32]


@pytest.mark.parametrize(("field", "given", "held"), GOOD, ids=shown)
def test_a_good_value_is_held(field: str, given: Any, held: Any) -> None:
    """Each field takes what it is documented to take, and holds it as one plain type."""
    made = getattr(event(**{field: given}), field)
    assert made == held
    assert type(made) is type(held)


@pytest.mark.parametrize(("field", "value"), BAD, ids=shown)
def test_a_bad_value_cannot_be_made(field: str, value: Any) -> None:
    """Anything else raises an error that names the field, from Python as from an envelope."""
    with pytest.raises(InvalidEvent) as caught:
        event(**{field: value})
    assert caught.value.field == field
    assert caught.value.detail
    with pytest.raises(InvalidEvent) as caught:
        SSEEvent.from_envelope({"event_type": "a", "data": None, field: value})
    assert caught.value.field == field
    str(caught.value).encode()


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def circular_list() -> list[Any]:
    value: list[Any] = [1]
    value.append(value)
    return value


def circular_dict() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["a"] = {"b": value}
    return value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (0, "0"),
        (-1.5, "-1.5"),
        (10**30, "1" + "0" * 30),
        ("", '""'),
        ("é€😀", '"é€😀"'),
        ("a\r\nb\0\t\x1f", r'"a\r\nb\u0000\t\u001f"'),
        ("\u2028\u2029\x85\ufeff", '"\\u2028\\u2029\\u0085\ufeff"'),
        ([], "[]"),
        ({}, "{}"),
        ((1, [2, {"a": None}]), '[1,[2,{"a":null}]]'),
        ({"b": 1, "a": 2}, '{"b":1,"a":2}'),
        ({1: "a", None: "b", False: "c"}, '{"1":"a","null":"b","false":"c"}'),
        (Kind.DONE, '"sync.done"'),
        (OldKind.DONE, '"sync.done"'),
        (nested(100), "[" * 101 + "]" * 101),
    ],
    ids=shown,
)
def test_data_is_anything_json_can_hold(value: Any, text: str) -> None:
    """The data is encoded once, as compact UTF-8, in the order given."""
    assert event(data=value).data_json == text.encode()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (float("nan"), "not JSON"),
        (float("inf"), "not JSON"),
        ({"a": [float("-inf")]}, "not JSON"),
        ({float("nan"): 1}, "not JSON"),
        (b"a", "not JSON"),
        (object(), "not JSON"),
        ({1, 2}, "not JSON"),
        (A_UUID, "not JSON"),
        (Decimal(1), "not JSON"),
        (datetime(2025, 1, 2), "not JSON"),
        (UserDict(a=1), "not JSON"),
        ({("a", "b"): 1}, "not JSON"),
        ({b"a": 1}, "not JSON"),
        (10**5000, "not JSON"),
        (circular_list(), "not JSON"),
        (circular_dict(), "not JSON"),
        (nested(100_000), "too deeply"),
        ("\ud800", "lone surrogate"),
        ({"\udfff": 1}, "lone surrogate"),
        (["ok", {"a": "x\ud83dx"}], "lone surrogate"),
    ],
    ids=lambda value: shown(value) if isinstance(value, str) else type(value).__name__,
)
def test_data_that_json_cannot_hold_is_refused(value: Any, said: str) -> None:
    """What could not be sent, or not be read back, raises when the event is made."""
    with pytest.raises(InvalidEvent, match=said) as caught:
        event(data=value)
    assert caught.value.field == "data"
    str(caught.value).encode()


def test_the_depth_of_the_caller_does_not_matter() -> None:
    """Even where hardly any stack is left an event is refused, not half made."""

    def deeper(left: int) -> None:
        if left:
            deeper(left - 1)
        else:
            with pytest.raises(InvalidEvent):
                event(data=nested(sys.getrecursionlimit()))

    deeper(200)


def test_later_changes_do_not_reach_the_event() -> None:
    """What is sent is what the data was when the event was made."""
    inner = {"count": 3}
    data = {"inner": inner, "list": [1]}
    made = event(data=data)
    inner["count"] = 4
    data["more"] = object()  # type: ignore[assignment]
    assert json.loads(made.data_json) == {"inner": {"count": 3}, "list": [1]}
    assert json.loads(made.to_envelope())["data"] == {"inner": {"count": 3}, "list": [1]}


def test_an_event_cannot_be_changed() -> None:
    """It stays as valid as it was when it was made."""
    made = event()
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.event_type = "b\n"  # type: ignore[misc]
    assert not hasattr(made, "__dict__")


def test_events_of_the_same_values_are_equal() -> None:
    """They compare by what was given; their encoded data is not shown."""
    assert event(data=[1], key="k") == event(data=[1], key="k") != event(data=[1])
    assert "data_json" not in repr(event())


def test_only_the_type_is_needed_in_python() -> None:
    """An event without data carries null."""
    made = SSEEvent("a")
    assert (made.user_id, made.data, made.data_json) == (None, None, b"null")


@pytest.mark.parametrize("body", [None, [], ["a"], "a", 1, True, b"{}", [("event_type", "a"), ("data", 1)]], ids=shown)
def test_an_envelope_is_an_object(body: object) -> None:
    """Any other JSON value is refused as a whole, without naming a field."""
    with pytest.raises(InvalidEvent, match="JSON object") as caught:
        SSEEvent.from_envelope(body)
    assert caught.value.field is None


@pytest.mark.parametrize("missing", ["event_type", "data"])
def test_a_missing_field_is_named(missing: str) -> None:
    """Type and data must be there, though data may be null."""
    envelope = {"event_type": "a", "data": None}
    assert SSEEvent.from_envelope(envelope).data is None
    del envelope[missing]
    with pytest.raises(InvalidEvent, match="missing") as caught:
        SSEEvent.from_envelope(envelope)
    assert caught.value.field == missing


@pytest.mark.parametrize(
    ("name", "shown_as"),
    [
        ("userId", "userId"),
        ("data_json", "data_json"),
        ("self", "self"),
        ("", "(unprintable)"),
        ("a b", "(unprintable)"),
        ("a\r\nb", "(unprintable)"),
        ("\ud800", "(unprintable)"),
        ("x" * 257, "(unprintable)"),
        (7, "(unprintable)"),
    ],
    ids=shown,
)
def test_an_unknown_field_is_named_and_refused(name: object, shown_as: str) -> None:
    """A typing error is told, with the known names; a name that is unfit to be shown is not."""
    with pytest.raises(InvalidEvent, match="unknown field") as caught:
        SSEEvent.from_envelope({"event_type": "a", "data": 1, name: 1})
    assert caught.value.field == shown_as
    assert all(field in caught.value.detail for field in FIELDS)


def test_null_is_as_good_as_nothing_for_what_may_be_missing() -> None:
    """Encoders that write every field are understood."""
    full = dict.fromkeys(FIELDS, None) | {"event_type": "a"}
    assert SSEEvent.from_envelope(full) == SSEEvent("a")
    with pytest.raises(InvalidEvent) as caught:
        SSEEvent.from_envelope(full | {"event_type": None})
    assert caught.value.field == "event_type"


def test_an_envelope_need_not_be_a_dict() -> None:
    """Any mapping will do."""
    assert SSEEvent.from_envelope(UserDict(event_type="a", data=1)) == SSEEvent("a", data=1)


def test_the_envelope_is_compact_and_leaves_out_what_is_not_given() -> None:
    """Its form is fixed: processes of different versions read each other's."""
    assert event(data={"a": 1}).to_envelope() == b'{"event_type":"a","data":{"a":1}}'
    full = SSEEvent("a", "alice", "é", id="mine", occurred_at="2025-01-02T03:04:05+00:00", retry=0, ttl=0.5, key='"k"')
    assert full.to_envelope().decode() == (
        '{"event_type":"a","user_id":"alice","occurred_at":"2025-01-02T03:04:05+00:00",'
        r'"retry":0,"ttl":0.5,"key":"\"k\"","data":"é"}'
    )


def test_the_envelope_holds_plain_values() -> None:
    """What calls itself something else than it is forges nothing in it."""

    class Seconds(enum.IntEnum):
        MINUTE = 60

    class SlyMoment(datetime):
        def isoformat(self, sep: str = "T", timespec: str = "auto") -> str:
            return '2025","data":"forged'

    class SlyUUID(UUID):
        def __str__(self) -> str:
            return 'a","data":"forged'

    sly = SSEEvent(
        Sly("a"), SlyUUID(int=7), 1, occurred_at=SlyMoment(2025, 1, 2), retry=Seconds.MINUTE, ttl=Seconds.MINUTE
    )
    assert sly.to_envelope() == (
        b'{"event_type":"a","user_id":"00000000-0000-0000-0000-000000000007",'
        rb'"occurred_at":"2025\",\"data\":\"forged","retry":60,"ttl":60,"data":1}'
    )


def test_the_publishers_own_id_stays_out_of_the_envelope() -> None:
    """The broker's id goes there."""
    assert b"mine" not in event(id="mine").to_envelope()


names = st.text(st.sampled_from("abzAZ09_.:-"), min_size=1, max_size=128)
printable = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=256)
text = st.text(st.characters(exclude_categories=["Cs"]))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=20,
)
events = st.builds(
    SSEEvent,
    names,
    st.none() | st.uuids() | names.filter(lambda name: name not in (".", "..")),
    json_values,
    occurred_at=st.none() | st.datetimes(timezones=st.just(UTC) | st.just(CET) | st.none()),
    retry=st.none() | st.integers(0, MAX_RETRY_MS),
    ttl=st.none() | st.integers(0, int(MAX_TTL)) | st.floats(0, MAX_TTL),
    key=st.none() | printable,
)


@settings(deadline=None)
@given(events)
def test_the_bytes_are_the_json_encoders(made: SSEEvent) -> None:
    """Data and envelope are what `json.dumps` makes of them, though not all of it is written by it.

    Only the ends of lines that are none are escaped.
    """

    def dumped(value: object) -> bytes:
        written = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        for end in "\x85\u2028\u2029":
            written = written.replace(end, f"\\u{ord(end):04x}")
        return written.encode()

    moment = made.occurred_at and made.occurred_at.isoformat()
    rest = {"user_id": made.user_id, "occurred_at": moment, "retry": made.retry, "ttl": made.ttl, "key": made.key}
    given = {name: value for name, value in rest.items() if value is not None}
    assert made.data_json == dumped(made.data)
    assert made.to_envelope() == dumped({"event_type": made.event_type} | given | {"data": made.data})


@settings(deadline=None)
@given(events)
def test_every_event_survives_its_envelope(made: SSEEvent) -> None:
    """What is written is one line of JSON, and is read back as an equal event with the same bytes of data."""
    envelope = made.to_envelope()
    again = SSEEvent.from_envelope(json.loads(envelope))
    assert again == made
    assert again.data_json == made.data_json
    assert again.to_envelope() == envelope
    assert not {b"\n"[0], b"\r"[0], 0} & set(envelope)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS) | st.text(), st.text() | json_values) | st.text() | json_values)
def test_no_body_breaks_the_reading_of_envelopes(body: object) -> None:
    """Whatever JSON is sent, it is an event or an invalid event, and the error can be answered."""
    try:
        made = SSEEvent.from_envelope(body)
    except InvalidEvent as error:
        str(error).encode()
        (error.field or "").encode()
    else:
        json.loads(made.to_envelope())


def test_an_entry_is_an_event_in_its_place() -> None:
    """What is not known of it is None: not retained, nothing before it, no retry, and so on."""
    entry = Entry("user:a", EventId(1, 0), "t", b"1")
    assert set(entry[4:]) == {None}
    assert Entry("user:a", None, "t", b"1").id is None
