"""CloudEvents as events: every attribute is read by its type, and what is wrong is named."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from cloudevents.core.bindings import http as sdk
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.cloudevents import MAX_ATTRIBUTES, read, read_binary
from gateway.errors import InvalidEvent, InvalidRequest
from gateway.events import SSEEvent

EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "7",
    "source": "/billing",
    "type": "invoice.paid",
    "data": {"a": 1},
}


def decode(text: bytes, field: str) -> object:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InvalidRequest(f"not JSON: {error}", field=field) from None


def made(cloudevent: object, *, to_subject: bool = False) -> SSEEvent:
    return read(cloudevent, to_subject=to_subject, decode=decode)


def of_request(headers: dict[str, str], body: bytes = b"", kind: str | None = None) -> SSEEvent:
    return read_binary(headers, kind, body, to_subject=False, decode=decode)


def kept(event: SSEEvent) -> dict[str, Any]:
    assert event.cloudevent is not None
    attributes: dict[str, Any] = json.loads(event.cloudevent)
    return attributes


def test_type_data_and_time_are_the_events() -> None:
    """`type`, `data` and `time` become the event's own fields."""
    event = made(EVENT | {"time": "2026-01-02T03:04:05.5+02:00"})
    assert (event.event_type, event.data, event.user_id) == ("invoice.paid", {"a": 1}, None)
    assert event.occurred_at == datetime(2026, 1, 2, 3, 4, 5, 500_000, timezone(timedelta(hours=2)))


def test_all_attributes_are_kept() -> None:
    """What an event has no field for is kept as it came; null is absent, and the cursor is the gateway's."""
    more = {"subject": "invoice 7", "partitionkey": "é", "sampled": True, "rank": -5, "gone": None, "cursor": "1-0"}
    event = made(EVENT | more)
    named = {"subject": "invoice 7", "partitionkey": "é", "sampled": True, "rank": -5}
    assert kept(event) == {"id": "7", "source": "/billing"} | named


def test_the_subject_is_the_user_where_it_is_asked_for() -> None:
    """On the path without a user the subject names one, and must be one."""
    assert made(EVENT | {"subject": "alice"}, to_subject=True).user_id == "alice"
    for subject in ({}, {"subject": None}, {"subject": "a b"}, {"subject": ""}):
        with pytest.raises(InvalidEvent) as caught:
            made(EVENT | subject, to_subject=True)
        assert caught.value.field == "subject"


@given(st.tuples(st.text(min_size=1), st.text(min_size=1)), st.tuples(st.text(min_size=1), st.text(min_size=1)))
def test_source_and_id_are_unique_together(one: tuple[str, str], two: tuple[str, str]) -> None:
    """The same two give the same id, and others another, wherever the line between them is."""
    ids = []
    for source, id in (one, two):
        try:
            ids.append(made(EVENT | {"source": source, "id": id}).id)
        except InvalidEvent:
            return
    assert (ids[0] == ids[1]) is (one == two)


def test_an_id_does_not_run_into_its_source() -> None:
    assert made(EVENT | {"source": "a", "id": "bc"}).id != made(EVENT | {"source": "ab", "id": "c"}).id


@pytest.mark.parametrize(
    ("kind", "content", "data"),
    [
        (None, b'{"a":[1]}', {"a": [1]}),
        ("application/json", b"null", None),
        ("application/problem+JSON; charset=utf-8", b'"x"', "x"),
        ("text/plain", "é".encode(), "é"),
        ("text/csv", b"\xe9", "6Q=="),
        ("image/png", b"\x89PNG", "iVBORw=="),
    ],
)
def test_bytes_become_what_json_can_hold(kind: str | None, content: bytes, data: object) -> None:
    """JSON its value, text a string, all else base64; in a body as in data_base64."""
    named = {} if kind is None else {"datacontenttype": kind}
    event = made(
        {name: value for name, value in EVENT.items() if name != "data"}
        | named
        | {"data_base64": base64.b64encode(content).decode()}
    )
    assert event.data == data
    headers = {name: value for name, value in EVENT.items() if name != "data"}
    assert of_request(headers, content, kind).data == data
    assert kept(event) == kept(of_request(headers, content, kind))
    assert kept(event).get("data_base64", False) is (isinstance(data, str) and data.endswith("=="))


def test_without_data_it_is_null() -> None:
    """Absent data, and a body of nothing, are null."""
    without = {name: value for name, value in EVENT.items() if name != "data"}
    assert made(without).data is None
    assert of_request(without, b"", "image/png").data is None


WRONG: dict[str, tuple[dict[str, Any], str | None]] = {
    "no specversion": ({"specversion": None}, "specversion"),
    "another version": ({"specversion": "0.3"}, "specversion"),
    "the version as a number": ({"specversion": 1.0}, "specversion"),
    "no id": ({"id": None}, "id"),
    "an empty id": ({"id": ""}, "id"),
    "a number as id": ({"id": 7}, "id"),
    "no source": ({"source": None}, "source"),
    "an empty source": ({"source": ""}, "source"),
    "a source with a space": ({"source": "a b"}, "source"),
    "a boolean as source": ({"source": True}, "source"),
    "no type": ({"type": None}, "type"),
    "a type with a slash": ({"type": "a/b"}, "type"),
    "a type of the gateway": ({"type": "gateway.gap"}, "type"),
    "an empty subject": ({"subject": ""}, "subject"),
    "a line end in the subject": ({"subject": "a\nb"}, "subject"),
    "a date as time": ({"time": "2026-01-02"}, "time"),
    "a time without an offset": ({"time": "2026-01-02T03:04:05"}, "time"),
    "a month 13": ({"time": "2026-13-02T03:04:05Z"}, "time"),
    "a number as time": ({"time": 1764000000}, "time"),
    "no media type": ({"datacontenttype": "json"}, "datacontenttype"),
    "an empty dataschema": ({"dataschema": ""}, "dataschema"),
    "an object as extension": ({"more": {"a": 1}}, "more"),
    "a fraction as extension": ({"rank": 1.5}, "rank"),
    "an integer of 33 bits": ({"rank": 2**31}, "rank"),
    "a name with a capital": ({"traceId": "a"}, "traceId"),
    "a name with a hyphen": ({"trace-id": "a"}, "trace-id"),
    "a name beyond ASCII": ({"é": "a"}, None),
    "a long name": ({"a" * 65: "a"}, "a" * 65),
    "NUL in an extension": ({"more": "\0"}, "more"),
    "C1 in an extension": ({"more": "\x85"}, "more"),
    "a lone surrogate in an extension": ({"more": "\ud800"}, "more"),
    "a lone surrogate in data": ({"data": "\ud800"}, "data"),
    "data twice": ({"data_base64": "e30="}, "data_base64"),
    "no base64": ({"data": None, "data_base64": "e3"}, "data_base64"),
    "base64 of a number": ({"data": None, "data_base64": 7}, "data_base64"),
    "base64 of no JSON": ({"data": None, "data_base64": "e3t9"}, "data_base64"),
    "too many attributes": ({f"a{n}": "b" for n in range(MAX_ATTRIBUTES)}, None),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(name: str) -> None:
    """Each attribute that is missing or malformed is named."""
    change, attribute = WRONG[name]
    with pytest.raises(InvalidEvent) as caught:
        made(EVENT | change)
    assert caught.value.field == attribute


@pytest.mark.parametrize("body", [None, 1, "x", [EVENT], []])
def test_what_is_no_object_is_refused(body: object) -> None:
    with pytest.raises(InvalidEvent):
        made(body)


HEADERS = {"specversion": "1.0", "id": "7", "source": "/billing", "type": "invoice.paid"}


@pytest.mark.parametrize(
    ("headers", "kind", "body", "field"),
    [
        ({"id": ""}, None, b"", "ce-id"),
        ({"type": "a b"}, None, b"", "ce-type"),
        ({"subject": "%C0%A0"}, None, b"", "ce-subject"),
        ({"subject": "\udcff"}, None, b"", "ce-subject"),
        ({"time": "now"}, None, b"", "ce-time"),
        ({"more": "%00"}, None, b"", "ce-more"),
        ({"trace-id": "a"}, None, b"", "ce-trace-id"),
        ({"datacontenttype": "text/plain"}, None, b"", "ce-datacontenttype"),
        ({}, "nonsense", b"", "Content-Type"),
        ({}, "application/json", b"{", "data"),
    ],
)
def test_what_is_wrong_in_a_header_is_named(headers: dict[str, str], kind: str | None, body: bytes, field: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        of_request(HEADERS | headers, body, kind)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("%41%2f%2F", "A//"),
        ('"a \\"b\\" %20"', 'a "b"  '),
        ("100%", "100%"),
        ("€", "€"),
    ],
)
def test_headers_are_decoded_once(sent: str, meant: str) -> None:
    """Quotes first, then one round of percent-decoding, as the HTTP binding has it."""
    assert kept(of_request(HEADERS | {"subject": sent}))["subject"] == meant


texts = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"]), min_size=1, max_size=30)
attributes = st.fixed_dictionaries(
    {"id": texts, "source": st.from_regex(r"[a-z/:.-]{1,30}", fullmatch=True), "type": st.just("a.b")},
    optional={
        "subject": texts,
        "time": st.datetimes(timezones=st.just(UTC)),
        "dataschema": st.just("https://schemas.example/1"),
        "traceparent": texts,
    },
)
data = st.dictionaries(texts, st.none() | st.booleans() | st.integers() | texts | st.lists(texts), max_size=4)


@settings(max_examples=200, deadline=None)
@given(attributes, data)
def test_what_the_sdk_sends_is_read_the_same_in_both_modes(named: dict[str, Any], content: dict[str, Any]) -> None:
    """Events of CloudEvents' own Python SDK, binary and structured, give one and the same event."""
    sent = CloudEvent(named | {"specversion": "1.0", "datacontenttype": "application/json"}, content)
    structured = made(json.loads(sdk.to_structured_event(sent).body))
    message = sdk.to_binary_event(sent)
    headers = {name.removeprefix("ce-"): value for name, value in message.headers.items() if name.startswith("ce-")}
    binary = of_request(headers, message.body, message.headers["content-type"])
    for event in (structured, binary):
        assert (event.event_type, event.data) == ("a.b", content)
        assert event.occurred_at == named.get("time", event.occurred_at)
    assert (structured.id, kept(structured)) == (binary.id, kept(binary))
    assert kept(structured)["id"] == named["id"]


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=500, deadline=None)
@given(st.dictionaries(st.sampled_from([*EVENT, "time", "subject", "data_base64", "ext"]) | st.text(), anything))
def test_whatever_comes_is_an_event_or_a_refusal(body: dict[str, Any]) -> None:
    """No value of any attribute gives anything but an event that can be published, or an `InvalidEvent`."""
    for cloudevent in (body, EVENT | body):
        try:
            event = made(cloudevent)
        except InvalidEvent as error:
            str(error).encode()
        else:
            envelope = event.to_envelope()
            assert b"\n" not in envelope
            json.loads(envelope)
