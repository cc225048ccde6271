"""The publish API: everything that is wrong is refused whole, by name, and nothing of it is published."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from web.inprocess import Served, kept, nothing_published, post

from gateway.errors import InvalidEvent
from gateway.events import SSEEvent

NDJSON = {"Content-Type": "application/x-ndjson"}
EVENT: dict[str, Any] = {"event_type": "x", "data": {"a": 1}}
OWN = EVENT | {"user_id": "alice"}
ENDPOINTS = ["/v1/events", "/v1/users/alice/events", "/v1/broadcast", "/v1/topics/orders.eu/events"]


NOT_JSON = {
    "empty": b"",
    "space": b"  ",
    "cut off": b'{"event_type": "x", "data": {',
    "two values": b"{} {}",
    "single quotes": b"{'event_type': 'x'}",
    "comma at the end": b'{"event_type": "x", "data": 1,}',
    "control character in a string": b'{"event_type": "x", "data": "a\nb"}',
    "NUL": b"\0",
    "bad UTF-8": b'{"event_type": "x", "data": "\xff"}',
    "overlong UTF-8": b'{"event_type": "x", "data": "\xc0\x80"}',
    "a surrogate in UTF-8": b'{"event_type": "x", "data": "\xed\xa0\x80"}',
    "UTF-16": json.dumps(EVENT).encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + json.dumps(EVENT).encode(),
    "nested arrays": b'{"event_type": "x", "data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "nested objects": b'{"event_type": "x", "data": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
    "nested and unfinished": b"[" * 1_000_000,
    "a number of 5000 digits": b'{"event_type": "x", "data": ' + b"9" * 5000 + b"}",
}

BAD_EVENTS: dict[str, tuple[Any, str | None]] = {
    "a string": ("x", None),
    "a number": (1, None),
    "null": (None, None),
    "no fields": ({}, "event_type"),
    "no event_type": ({"data": 1}, "event_type"),
    "no data": ({"event_type": "x"}, "data"),
    "unknown field": (EVENT | {"priority": 1}, "priority"),
    "a field of the envelope": (EVENT | {"previous": "1-0"}, "previous"),
    "a field in the wrong case": (EVENT | {"Data": 1}, "Data"),
    "unknown field of strange name": (EVENT | {"a\r\nb": 1}, "(unprintable)"),
    "event_type is null": (EVENT | {"event_type": None}, "event_type"),
    "event_type is a number": (EVENT | {"event_type": 1}, "event_type"),
    "event_type is empty": (EVENT | {"event_type": ""}, "event_type"),
    "event_type with a line end": (EVENT | {"event_type": "x\ndata: y"}, "event_type"),
    "event_type with a final line end": (EVENT | {"event_type": "x\n"}, "event_type"),
    "event_type with CR": (EVENT | {"event_type": "x\r"}, "event_type"),
    "event_type with NUL": (EVENT | {"event_type": "x\0"}, "event_type"),
    "event_type with a space": (EVENT | {"event_type": "x y"}, "event_type"),
    "event_type with another alphabet": (EVENT | {"event_type": "х"}, "event_type"),
    "event_type with a fullwidth digit": (EVENT | {"event_type": "x１"}, "event_type"),
    "event_type too long": (EVENT | {"event_type": "x" * 129}, "event_type"),
    "event_type of the gateway": (EVENT | {"event_type": "gateway.gap"}, "event_type"),
    "user_id is a number": (EVENT | {"user_id": 42}, "user_id"),
    "user_id is empty": (EVENT | {"user_id": ""}, "user_id"),
    "user_id with a line end": (EVENT | {"user_id": "alice\n"}, "user_id"),
    "user_id with NUL": (EVENT | {"user_id": "alice\0"}, "user_id"),
    "user_id with a star": (EVENT | {"user_id": "*"}, "user_id"),
    "user_id too long": (EVENT | {"user_id": "a" * 129}, "user_id"),
    "user_id is a list": (EVENT | {"user_id": ["alice"]}, "user_id"),
    "id is a number": (EVENT | {"id": 7}, "id"),
    "id is empty": (EVENT | {"id": ""}, "id"),
    "id with a line end": (EVENT | {"id": "a\nb"}, "id"),
    "id with NUL": (EVENT | {"id": "a\0"}, "id"),
    "id with DEL": (EVENT | {"id": "a\x7f"}, "id"),
    "id beyond ASCII": (EVENT | {"id": "é"}, "id"),
    "id too long": (EVENT | {"id": "a" * 257}, "id"),
    "key with a space": (EVENT | {"key": "a b"}, "key"),
    "retry is negative": (EVENT | {"retry": -1}, "retry"),
    "retry is a fraction": (EVENT | {"retry": 1.5}, "retry"),
    "retry is a string": (EVENT | {"retry": "1000"}, "retry"),
    "retry is a bool": (EVENT | {"retry": True}, "retry"),
    "retry is beyond an hour": (EVENT | {"retry": 3_600_001}, "retry"),
    "ttl is negative": (EVENT | {"ttl": -1}, "ttl"),
    "ttl is NaN": (EVENT | {"ttl": float("nan")}, "ttl"),
    "ttl is infinite": (EVENT | {"ttl": float("inf")}, "ttl"),
    "ttl is huge": (EVENT | {"ttl": 10**30}, "ttl"),
    "occurred_at is no moment": (EVENT | {"occurred_at": "yesterday"}, "occurred_at"),
    "occurred_at is a number": (EVENT | {"occurred_at": 1764000000}, "occurred_at"),
    "a lone surrogate in data": (EVENT | {"data": "\ud800"}, "data"),
    "a lone surrogate in a name": (EVENT | {"data": {"\udfff": 1}}, "data"),
    "a lone surrogate as a field": (EVENT | {"\ud800": 1}, "(unprintable)"),
    "a lone surrogate in event_type": (EVENT | {"event_type": "\ud800"}, "event_type"),
    "NaN in data": (EVENT | {"data": float("nan")}, "data"),
    "Infinity in data": (EVENT | {"data": [float("inf")]}, "data"),
    "-Infinity in data": (EVENT | {"data": {"a": float("-inf")}}, "data"),
}


@pytest.mark.parametrize("name", NOT_JSON)
async def test_what_is_no_json_is_refused(gateway: Served, name: str) -> None:
    """A body that is no UTF-8 or no JSON is a 400, however it is broken."""
    async with nothing_published(gateway):
        status, answer = await post(gateway, NOT_JSON[name])
    assert status == 400
    assert answer["detail"]
    assert len(json.dumps(answer)) < 1000


@pytest.mark.parametrize("name", BAD_EVENTS)
async def test_a_bad_event_is_refused_by_the_field(gateway: Served, name: str) -> None:
    """A missing, unknown or malformed field is a 400 that names it."""
    body, field = BAD_EVENTS[name]
    async with nothing_published(gateway):
        status, answer = await post(gateway, body)
    assert (status, answer["type"], answer.get("field")) == (400, "urn:event-gateway:problem:invalid-event", field)


@pytest.mark.parametrize("name", BAD_EVENTS)
@pytest.mark.parametrize("form", ["array", "lines"])
async def test_one_bad_event_refuses_the_batch(gateway: Served, name: str, form: str) -> None:
    """A batch with one bad item is refused whole, names its index, and nothing is published."""
    body, field = BAD_EVENTS[name]
    batch = [OWN, OWN, body, OWN]
    async with nothing_published(gateway):
        if form == "array":
            status, answer = await post(gateway, batch)
        else:
            status, answer = await post(gateway, "\n".join(map(json.dumps, batch)).encode(), headers=NDJSON)
    assert (status, answer["field"]) == (400, f"[2].{field}" if field else "[2]")
    assert await kept(gateway) == []


async def test_a_number_beyond_any_float_is_refused(gateway: Served) -> None:
    """1e999 is JSON, but what it would become is not: it is refused and not sent as Infinity."""
    async with nothing_published(gateway):
        for number in (b"1e999", b"-1e999", b'[1, {"a": 1e400}]'):
            status, answer = await post(gateway, b'{"event_type": "x", "data": ' + number + b"}")
            assert (status, answer["field"]) == (400, "data")


async def test_the_broken_line_of_ndjson_is_named(gateway: Served) -> None:
    """A line that is no JSON is named by its index among the lines that hold something."""
    body = "\n\n".join((json.dumps(OWN), "{broken", json.dumps(OWN)))
    async with nothing_published(gateway):
        status, answer = await post(gateway, body.encode(), headers=NDJSON)
    assert (status, answer["field"]) == (400, "[1]")


async def test_lines_are_counted_before_they_are_read(gateway: Served) -> None:
    """Two bytes are a line, and a body holds two million: a batch that is too long costs nothing but its reading."""
    async with nothing_published(gateway):
        status, answer = await post(gateway, b"x\n" * 500_000, headers=NDJSON)
    assert (status, answer["type"]) == (413, "urn:event-gateway:problem:too-large")


@pytest.mark.parametrize("body", [b"[]", b"[ ]"])
async def test_an_empty_array_is_refused(gateway: Served, body: bytes) -> None:
    """A batch of nothing is a mistake of the sender."""
    assert (await post(gateway, body))[0] == 400


@pytest.mark.parametrize("body", [b"", b"\n\n", b"  \n"])
async def test_empty_lines_are_refused(gateway: Served, body: bytes) -> None:
    """NDJSON without any line that holds something is an empty batch."""
    assert (await post(gateway, body, headers=NDJSON))[0] == 400


async def test_without_a_user_the_own_channel_is_unknown(gateway: Served) -> None:
    """POST /v1/events needs a user_id in each event, and says so by index."""
    async with nothing_published(gateway):
        status, answer = await post(gateway, EVENT, "/v1/events")
        assert (status, answer["field"]) == (400, "user_id")
        status, answer = await post(gateway, [OWN, EVENT], "/v1/events")
        assert (status, answer["field"]) == (400, "[1].user_id")


KINDS = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonp"]


@pytest.mark.parametrize(
    "kind", [*KINDS, "application/xml", "text/json", "nonsense", "", "application/json, text/plain"]
)
async def test_other_content_types_are_refused(gateway: Served, kind: str) -> None:
    """What is not declared as JSON or NDJSON is a 415 that says what to send (and so no HTML form can publish)."""
    async with nothing_published(gateway):
        status, answer = await post(gateway, EVENT, headers={"Content-Type": kind})
    assert status == 415
    assert "application/json" in answer["detail"]


async def test_a_missing_content_type_is_refused(gateway: Served) -> None:
    """Nothing is guessed about a body that does not say what it is."""
    body = json.dumps(EVENT).encode()
    async with nothing_published(gateway), gateway.wire() as (reader, writer):
        writer.write(b"POST /v1/broadcast HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        assert (await reader.readline()).startswith(b"HTTP/1.1 415 ")


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_body_that_does_not_decompress_is_refused(gateway: Served, encoding: str) -> None:
    """Content-Encoding with something else behind it is the sender's mistake, not the server's."""
    async with gateway.wire() as (reader, writer):
        writer.write(
            b"POST /v1/broadcast HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Encoding: %b\r\nContent-Length: 9\r\n\r\nnot this!" % encoding.encode()
        )
        assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")


PATHS = [
    "%00",
    "a%0Ab",
    "a%0D%0Ab",
    "a%20b",
    "*",
    "%2A",
    "..%2Fb",
    "%2e%2e",
    "a%2Fb",
    "%FF",
    "%C3%A9",
    "a" * 129,
    "a%00",
]


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("path", ["/v1/users/%s/events", "/v1/topics/%s/events"])
async def test_a_bad_name_in_the_path_is_refused(gateway: Served, path: str, name: str) -> None:
    """Control characters, slashes and other alphabets in the path are a 400 or 404, and reach no key."""
    body = json.dumps(EVENT).encode()
    async with nothing_published(gateway), gateway.wire() as (reader, writer):
        head = f"POST {path % name} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        writer.write(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        assert (await reader.readline()).split()[1] in (b"400", b"404")


@given(st.text(max_size=20))
@hypothesis_settings(max_examples=100, deadline=None)
def test_any_event_type_is_taken_or_refused(text: str) -> None:
    """No text as event_type gives anything but an event or a refusal."""
    try:
        SSEEvent.from_envelope(EVENT | {"event_type": text})
    except InvalidEvent as error:
        assert error.field == "event_type"
    else:
        assert text.isascii()
