from __future__ import annotations

import json

import pytest

from gateway.broker.redis.envelope import REMEMBERED_SIZE, announced, stored
from gateway.errors import InvalidEvent
from gateway.events import Entry, SSEEvent
from gateway.ids import EventId

CHANNEL = "user:alice"


def envelope(**fields: str) -> bytes:
    """As the publish script announces it; each value is JSON text, and replaces the one of a good announcement."""
    good = {"id": '"5-0"', "previous": '"4-0"', "event_type": '"x"', "data": "1"}
    return b"{%s}" % b",".join(
        f'"{name}":{value}'.encode("utf-8", "surrogateescape") for name, value in (good | fields).items()
    )


BOMB = "[" * 200_000 + "]" * 200_000

GARBAGE = {
    "nothing": b"",
    "no JSON": b"hello",
    "half of it": b'{"event_type":"x","data":',
    "two of them": b'{"event_type":"x","data":1}{"event_type":"x","data":1}',
    "not an object": b'["x",1]',
    "a number": b"17",
    "null": b"null",
    "bad UTF-8": b"\xff\xfe\x00",
    "bad UTF-8 in data": b'{"event_type":"x","data":"\xff"}',
    "a byte order mark": b'\xef\xbb\xbf{"event_type":"x","data":1}',
    "a nesting bomb": BOMB.encode(),
    "a nesting bomb in data": b'{"event_type":"x","data":%b}' % BOMB.encode(),
    "no event type": b'{"data":1}',
    "no data": b'{"event_type":"x"}',
    "an unknown field": b'{"event_type":"x","data":1,"colour":"red"}',
    "an event type with a line end": b'{"event_type":"x\\nid: 9","data":1}',
    "an event type of ours": b'{"event_type":"gateway.gap","data":1}',
    "an infinite number": b'{"event_type":"x","data":1e999}',
    "not a number": b'{"event_type":"x","data":NaN}',
    "a lone surrogate": b'{"event_type":"x","data":"\\ud800"}',
    "a negative retry": b'{"event_type":"x","data":1,"retry":-1}',
    "a previous without an id": b'{"event_type":"x","data":1,"previous":"4-0"}',
    "forged: no event id": envelope(id='"five"'),
    "forged: an id with a line end": envelope(id='"5-0\\nevent: x"'),
    "forged: previous is no id": envelope(previous='"$"'),
    "forged: an event type with a line end": envelope(event_type='"x\\n\\ndata: forged"'),
    "forged: an event type of ours": envelope(event_type='"gateway.reconnect"'),
    "forged: an endless event type": envelope(event_type=f'"{"x" * 129}"'),
    "forged: bad UTF-8 in data": envelope(data='"\udcff"'),
    "forged: a nesting bomb": envelope(data=BOMB),
    "forged: data that is not JSON": envelope(data="hello"),
    "forged: a negative retry": envelope(retry="-1"),
    "forged: an endless retry": envelope(retry="9" * 30),
    "forged: a retry of hours": envelope(retry="3600001"),
    "forged: a ttl that is none": envelope(ttl='"soon"'),
}


@pytest.mark.parametrize("payload", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_is_refused(payload: bytes) -> None:
    """What is not an event, or was made to look like one, is one error and nothing else."""
    with pytest.raises(InvalidEvent):
        announced(CHANNEL, payload)


def test_an_announcement() -> None:
    """What the script announces becomes an entry; its data is the text that came."""
    entry = announced(CHANNEL, envelope(data=' {"a": 1.0,\r\n"b":"\\u00e9é"} ', retry="0", ttl="1.5", key='"k"'))
    assert (entry.channel, entry.id, entry.previous, entry.event_type) == (CHANNEL, (5, 0), (4, 0), "x")
    assert entry.data == ' {"a": 1.0,\r\n"b":"\\u00e9é"} '.strip().encode()
    assert (entry.retry, entry.ttl, entry.key) == (0, 1.5, "k")


def test_the_first_of_its_channel() -> None:
    """Before the first event there is none."""
    assert announced(CHANNEL, envelope(previous='"0-0"')).previous is None


def test_published_by_hand() -> None:
    """A raw event has no id, whatever id its publisher gave it."""
    entry = announced(CHANNEL, b'{"event_type": "x", "data": {"a": [1, 2.50]}, "id": "mine", "key": "k"}')
    assert (entry.id, entry.previous, entry.data, entry.key) == (None, None, b'{"a":[1,2.5]}', "k")


def test_huge_is_no_reason_to_refuse() -> None:
    """Ten megabytes are an event like any other: the size is limited where events come in."""
    assert len(announced(CHANNEL, envelope(data=f'"{"x" * 10_000_000}"')).data) == 10_000_002


@pytest.mark.parametrize(
    "event",
    [
        SSEEvent("x", data=None),
        SSEEvent(
            "sync.done", "42", {"text": 'ü"\\\u2028\x00\x7f🎉', "n": [1.5, -0.0, 10**40]}, retry=0, ttl=0, key="k"
        ),
        SSEEvent("x", data="x" * 70_000, occurred_at="2026-01-01T00:00:00+00:00", id="mine"),
        SSEEvent("x", data=1, cloudevent=b'{"id":"7","source":"/billing"}'),
    ],
)
def test_stored_is_what_was_published(event: SSEEvent) -> None:
    """Through history an event keeps what delivery needs."""
    entry = stored(CHANNEL, b"5-1", [b"e", event.to_envelope(), b"p", b"4-0"])
    assert (entry.id, entry.previous) == (EventId(5, 1), EventId(4, 0))
    assert (entry.event_type, entry.data) == (event.event_type, event.data_json)
    assert entry == Entry.of(event, CHANNEL, EventId(5, 1), EventId(4, 0))


def test_a_cloudevent_without_retention() -> None:
    """It comes back as one published by hand, with its attributes."""
    event = SSEEvent("x", data=1, cloudevent=b'{"id":"7","source":"/billing"}')
    entry = announced(CHANNEL, event.to_envelope())
    assert (entry.id, json.loads(entry.cloudevent or b"")) == (None, {"id": "7", "source": "/billing"})


def test_an_entry_is_parsed_once_for_all_who_read_it() -> None:
    """The same bytes at the same place give the same entry; other bytes there, after a flush, another one."""
    envelope = b'{"event_type":"x","data":1}'
    fields = [b"e", envelope, b"p", b"1-0"]
    once, again = (stored("user:a", b"2-0", [bytes(bytearray(field)) for field in fields]) for _ in range(2))
    assert once is again
    assert stored("user:b", b"2-0", fields) is not once
    assert stored("user:a", b"2-0", [b"e", envelope.replace(b"1", b"2"), b"p", b"1-0"]).data == b"2"
    large = [b"e", b'{"event_type":"x","data":"%b"}' % (b"x" * REMEMBERED_SIZE), b"p", b"1-0"]
    assert stored("user:a", b"2-0", large) is not stored("user:a", b"2-0", large)
