"""Encodings: one event as a block, as a line, as a CloudEvent; and the gateway's own words in each."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st

from gateway.cloudevents import read, written
from gateway.encodings import EVENT_STREAM, EVENT_STREAM_OF_CLOUDEVENTS, LINES, LINES_OF_CLOUDEVENTS, Encoding
from gateway.event_stream import EventStreamParser
from gateway.events import Entry, SSEEvent
from gateway.hub import Frame
from gateway.ids import EventId

ID = EventId(1764000000007, 0)
ENTRY = Entry("user:42", ID, "order.paid", b'{"a":1}')
ALL = [EVENT_STREAM, EVENT_STREAM_OF_CLOUDEVENTS, LINES, LINES_OF_CLOUDEVENTS]


def line(encoding: Encoding, entry: Entry) -> dict[str, Any]:
    text = encoding.event(entry)
    assert text.endswith(b"\n")
    assert text.count(b"\n") == 1
    told: dict[str, Any] = json.loads(text)
    return told


def cloudevent(entry: Entry) -> dict[str, Any]:
    """As it is written, and as the SDK reads it."""
    text = written(entry)
    event = JSONFormat().read(CloudEvent, text)
    assert event.get_type() == entry.event_type
    told: dict[str, Any] = json.loads(text)
    return told


def test_a_block() -> None:
    assert EVENT_STREAM.event(ENTRY) == b'id: 1764000000007-0\nevent: order.paid\ndata: {"a":1}\n\n'


def test_a_line() -> None:
    """An event is one object; what has no id says so, and `retry` is there when it was given."""
    assert line(LINES, ENTRY) == {"id": str(ID), "event_type": "order.paid", "data": {"a": 1}}
    assert line(LINES, ENTRY._replace(id=None, retry=5)) == {
        "id": None,
        "event_type": "order.paid",
        "retry": 5,
        "data": {"a": 1},
    }


def test_an_event_as_a_cloudevent() -> None:
    """Its source is the path it could be published on, and its time that of its publication, if it said no other."""
    assert cloudevent(ENTRY) == {
        "specversion": "1.0",
        "id": "1764000000007-0",
        "source": "/v1/users/42/events",
        "type": "order.paid",
        "subject": "42",
        "time": "2025-11-24T16:00:00.007+00:00",
        "datacontenttype": "application/json",
        "cursor": "1764000000007-0",
        "data": {"a": 1},
    }
    assert cloudevent(ENTRY._replace(channel="broadcast"))["source"] == "/v1/broadcast"
    topic = cloudevent(ENTRY._replace(channel="topic:orders.eu"))
    assert (topic["source"], "subject" in topic) == ("/v1/topics/orders.eu/events", False)


def test_without_an_id_one_is_made_up() -> None:
    """A CloudEvent has one; without retention there is no cursor, and no time but the one it said."""
    one, other = (cloudevent(ENTRY._replace(id=None)) for _ in range(2))
    assert one["id"] != other["id"]
    assert not {"cursor", "time"} & one.keys()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("2026-01-02T03:04:05+02:00", "2026-01-02T03:04:05+02:00"),
        ("2026-01-02T03:04:05", "2026-01-02T03:04:05+00:00"),
        ("rubbish", None),
    ],
)
def test_its_time_is_when_it_occurred(said: str, told: str | None) -> None:
    """With an offset, which a CloudEvent's time needs."""
    assert cloudevent(ENTRY._replace(occurred_at=said)).get("time") == told


ATTRIBUTES = {
    "specversion": "1.0",
    "id": "A 7",
    "source": "/billing",
    "type": "invoice.paid",
    "subject": "é \u2028",
    "time": "2026-01-02T03:04:05.123456789Z",
    "dataschema": "https://schemas.example/1",
    "datacontenttype": "application/vnd.x+json",
    "sampled": True,
    "rank": -5,
}


@pytest.mark.parametrize(
    "content",
    [
        {"data": {"é": [1, None]}},
        {"data": None},
        {"datacontenttype": "image/png", "data_base64": "iVBORw=="},
        {"datacontenttype": "application/xml", "data": "<a/>"},
    ],
)
def test_a_cloudevent_leaves_as_it_came(content: dict[str, Any]) -> None:
    """All attributes, extensions too, and its data; the cursor is added."""
    event = read(ATTRIBUTES | content, to_subject=False, decode=lambda text, field: json.loads(text))
    entry = Entry.of(event, "user:42", ID, None)
    assert cloudevent(entry) == ATTRIBUTES | content | {"cursor": str(ID)}
    assert cloudevent(Frame(entry).entry()) == ATTRIBUTES | content | {"cursor": str(ID)}


HOSTILE = [b"[1]", b"{", b"null", b"7", b'{"id":"7"}', b"[" * 100_000, b'{"id":{},"source":[]}']


@pytest.mark.parametrize("kept", HOSTILE, ids=lambda kept: kept[:20])
def test_what_redis_holds_instead_of_attributes_does_no_harm(kept: bytes) -> None:
    """Anybody with access to Redis may write there: it is then an event like any other."""
    assert cloudevent(ENTRY._replace(cloudevent=kept))["source"] == "/v1/users/42/events"


def test_attributes_from_redis_forge_nothing() -> None:
    """Neither what the gateway says of an event, nor another member, nor what is no JSON."""
    forged = b'{"id":"7","source":"/x","type":"y","cursor":"9-9","data":1,"a b":1,"n":NaN,"specversion":"0"}'
    told = cloudevent(ENTRY._replace(cloudevent=forged))
    assert told["data"] == {"a": 1}
    assert told["cursor"] == str(ID)
    assert {"a b", "n"}.isdisjoint(told)


def test_own_words_in_lines() -> None:
    """The gateway's own events are lines like others, and what moves the cursor are notes."""
    assert json.loads(LINES.control("gateway.gap", {"oldest": None})) == {
        "id": None,
        "event_type": "gateway.gap",
        "data": {"oldest": None},
    }
    assert json.loads(LINES.control("gateway.reconnect", {}, 9))["retry"] == 9
    assert LINES.retry(3000) == b'{"retry":3000}\n'
    assert LINES.cursor(ID) == LINES.heartbeat(ID) == b'{"cursor":"1764000000007-0"}\n'
    assert LINES.heartbeat(None) == b"\n"


@pytest.mark.parametrize("encoding", [EVENT_STREAM_OF_CLOUDEVENTS, LINES_OF_CLOUDEVENTS])
def test_own_events_as_cloudevents(encoding: Encoding) -> None:
    """Who asked for CloudEvents gets nothing else as an event."""
    text = encoding.control("gateway.gap", {"oldest": None})
    if encoding is EVENT_STREAM_OF_CLOUDEVENTS:
        [event] = EventStreamParser().feed(text)
        assert event.type == "gateway.gap"
        text = event.data.encode()
    told = json.loads(text)
    assert (told["type"], told["source"], told["data"]) == ("gateway.gap", "/v1/events", {"oldest": None})
    assert len(told["id"]) == 32


texts = st.text(st.characters(exclude_categories=["Cs"]))
data = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(data, st.none() | st.integers(0, 9), st.sampled_from([None, 0, 2]), st.booleans())
def test_every_encoding_says_the_same(data: object, retry: int | None, indent: int | None, retained: bool) -> None:
    """Whatever the data, and wherever its JSON ends lines: through a frame each form has the same type, id and data."""
    compact = Entry.of(SSEEvent("x", data=data, retry=retry), "user:a", ID if retained else None, None)
    entry = compact._replace(data=json.dumps(data, indent=indent).encode())
    frame = Frame(entry)
    said = []
    for encoding in ALL:
        text = encoding.event(frame.entry())
        if encoding in (EVENT_STREAM, EVENT_STREAM_OF_CLOUDEVENTS):
            parser = EventStreamParser()
            [event] = parser.feed(text)
            assert (event.type, event.last_event_id, parser.retry) == ("x", str(ID) if retained else "", retry)
            text = event.data.encode()
        else:
            assert text.count(b"\n") == 1
        told = json.loads(text)
        said.append(told if encoding is EVENT_STREAM else told["data"])
    assert said == [data] * len(ALL)
    assert all(frame.encoded(encoding) for encoding in ALL)
