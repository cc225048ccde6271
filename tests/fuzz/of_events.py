"""Events on their way in and out, and what subscribers ask for."""

from __future__ import annotations

import contextlib

from aiohttp.test_utils import make_mocked_request
from fuzz.checks import one_event, one_line, same_however_cut
from fuzz.registry import target, text
from hostile.poison import FORGED

from gateway import channels, cloudevents
from gateway.bench import wire
from gateway.broker.redis import envelope
from gateway.channels import Keys
from gateway.client import answers
from gateway.encodings import EVENT_STREAM, EVENT_STREAM_OF_CLOUDEVENTS, LINES, LINES_OF_CLOUDEVENTS
from gateway.errors import InvalidEvent, InvalidRequest
from gateway.events import Entry, SSEEvent
from gateway.hub import Connection
from gateway.hub.frame import Frame
from gateway.ids import EARLIEST, START, EventId, parse_cursor, parse_positions
from gateway.setting_kinds import is_scope
from gateway.web import bodies, forms

FIRST, SECOND = EventId(1, 0), EventId(2, 0)


@target
def cursor(data: bytes) -> None:
    """A Last-Event-ID is a cursor in its one spelling, or none."""
    given = text(data)
    found = parse_cursor(given)
    assert found is None or str(found) == given or (given == EARLIEST and found == START)
    positions = parse_positions(given)
    assert positions is None or str(positions) == given or given == EARLIEST
    assert found is None or positions is not None


@target
def channel(data: bytes) -> None:
    """What a name becomes is safe in a key, a path and a header, and no two names become one."""
    name = text(data)
    assert not is_scope(name) or name in ("*", "broadcast") or name.startswith(("user:", "topic:"))
    try:
        made = channels.user(name)
    except InvalidEvent:
        return
    assert made == f"user:{name}" and made.isascii() and made.isprintable() and not set(made) & set(" /%?#\"'\\{}*,;")
    assert channels.matches(name, name) or not name.endswith(".*")
    assert Keys("sse").dedupe(made, name).startswith(f"sse:dedupe:{made}:")
    assert is_scope(made)


@target
def body(data: bytes) -> None:
    """A publish: refused as such, or an event that leaves as it came."""
    try:
        event = SSEEvent.from_envelope(bodies._json(data))
    except (InvalidRequest, InvalidEvent) as error:
        assert FORGED not in (error.field or "")
        return
    written = event.to_envelope()
    entry = envelope.announced("user:a", b'{"id":"2-0","previous":"1-0",%b' % written[1:])
    assert entry == Entry.of(event, "user:a", SECOND, FIRST)._replace(occurred_at=entry.occurred_at)
    assert b"\n" not in entry.data and b"\r" not in entry.data
    everywhere(entry)


@target
def cloudevent(data: bytes) -> None:
    """The same in the form of a CloudEvent: structured, or binary with the attributes in the first line."""
    with contextlib.suppress(InvalidRequest, InvalidEvent):
        event = cloudevents.read(bodies._json(data), to_subject=False, decode=bodies._json)
        everywhere(Entry.of(event, "user:a", SECOND, FIRST))
    head, _, rest = data.partition(b"\n")
    headers = dict(pair.partition("=")[::2] for pair in head.decode("latin-1").split("&"))
    kind = headers.pop("type?", None)
    with contextlib.suppress(InvalidRequest, InvalidEvent):
        event = cloudevents.read_binary(headers, kind, rest, to_subject=True, decode=bodies._json)
        everywhere(Entry.of(event, "user:a", SECOND, FIRST))


@target
def announcement(data: bytes) -> None:
    """Anything that was published in Redis: no event, or one that is alone in its frame."""
    with contextlib.suppress(InvalidEvent):
        everywhere(envelope.announced("user:a", data))


@target
def history(data: bytes) -> None:
    """Anything that was put into a history: `p`, a line end, and `e`. The reader passes over whatever raises."""
    previous, _, stored = data.partition(b"\n")
    try:
        entry = envelope.stored("user:a", b"2-0", [b"e", stored, b"p", previous])
    except Exception:
        return
    assert entry.id == SECOND
    everywhere(entry)


@target
def query(data: bytes) -> None:
    """A stream's query and Accept: the form it has, or refused."""
    first, _, rest = data.partition(b"\n")
    accept = "".join(letter for letter in rest.decode("latin-1") if letter.isprintable())
    path = "/v1/events?" + "".join(letter for letter in first.decode("latin-1") if "!" <= letter <= "~")
    request = make_mocked_request("GET", path, headers={"Accept": accept})
    with contextlib.suppress(InvalidRequest):
        form = forms.wanted(request, 60)
        assert form.wait is None or 0 <= form.wait <= 60


@target
def types(data: bytes) -> None:
    """Filters, a line each, and the event type last: a filter lets through what begins as it does, or is the same."""
    *patterns, name = text(data).split("\n")
    wanted = Connection([], types=patterns).wants(name)
    expected = not patterns or any(
        pattern in ("*", name) or (pattern.endswith(".*") and name.startswith(pattern[:-1])) for pattern in patterns
    )
    assert wanted is expected


@target
def event_stream(data: bytes) -> None:
    """A stream as the client reads it: the same events however it is cut."""
    same_however_cut(data)


@target
def bench_stream(data: bytes) -> None:
    """A stream as the load tool reads it: ticks, or broken."""
    for chunked in (True, False):
        reader = wire.Reader("run", {}, chunked=chunked)
        with contextlib.suppress(wire.Broken):
            reader.feed(data[:7])
            reader.feed(data[7:])


@target
def answer(data: bytes) -> None:
    """What a gateway, or who pretends to be one, answers to a client: a line of text and a number of seconds."""
    said = answers.problem("application/problem+json", data)
    assert all(len(part) <= answers.MAX_TEXT and "\n" not in part for part in said)
    seconds = answers.retry_after(text(data))
    assert seconds is None or seconds >= 0


def everywhere(entry: Entry) -> None:
    """In each form of a stream it is one event, and nothing of its data is anything else."""
    frame = Frame(entry)
    one_event(EVENT_STREAM.event(entry), entry)
    one_event(EVENT_STREAM_OF_CLOUDEVENTS.event(frame.entry()), entry, data=None)
    one_line(LINES.event(frame.entry()), entry)
    one_line(LINES_OF_CLOUDEVENTS.event(frame.entry()), entry, cloudevent=True)
