"""What is smuggled in, and where: characters that end a line, or a string, for somebody."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

POISONS = {
    "CR": "\r",
    "LF": "\n",
    "CRLF": "\r\n",
    "NUL": "\0",
    "VT": "\v",
    "NEL": "\x85",
    "U+2028": "\u2028",
    "U+2029": "\u2029",
    "BOM": "\ufeff",
}

UNREADABLE = {
    "lone surrogate": b"\\ud800",
    "half a pair": b"\\udc00x",
    "bad UTF-8": b"\xff",
    "overlong LF": b"\xc0\x8a",
    "cut-off UTF-8": b"\xe2\x80",
    "surrogate in UTF-8": b"\xed\xa0\x80",
}
"""Inside a JSON string. The first two are escapes that no UTF-8 can carry."""

FORGED = "forged"


def forgery(poison: str) -> str:
    """A text that would be an event of its own, with an id and a retry, if `poison` ended lines."""
    fields = [f"event: {FORGED}", f"data: {FORGED}", "id: 9-9", "retry: 1", "", f"data: {FORGED}", "", ""]
    return "a" + poison + poison.join(fields)


class Attempt(NamedTuple):
    """One publish. `ok` is whether a subscriber shall get it, as `data`."""

    name: str
    ok: bool
    data: Any
    body: bytes
    path: str = "/v1/users/alice/events"


def published() -> Iterator[Attempt]:
    """By HTTP: each poison in each place of a body, and of the path."""
    for name, poison in POISONS.items():
        text = forgery(poison)
        event: dict[str, Any] = {"event_type": "x", "data": {"in data": text, text: [poison]}}
        yield Attempt(f"{name} in data", True, event["data"], _json(event))
        for field in ("event_type", "id", "key", "user_id", "occurred_at"):
            yield Attempt(f"{name} in {field}", False, None, _json({"event_type": "x", "data": 1, field: text}))
        yield Attempt(f"{name} in a field's name", False, None, _json({"event_type": "x", "data": 1, text: 1}))
        for kind in ("users", "topics"):
            path = f"/v1/{kind}/{quote(text, safe='')}/events"
            yield Attempt(f"{name} in the path of {kind}", False, None, _json({"event_type": "x", "data": 1}), path)
    for name, raw in UNREADABLE.items():
        for field in ("event_type", "id", "key", "user_id", "data"):
            event = {"event_type": "x", "data": 1} | {field: "?"}
            yield Attempt(f"{name} in {field}", False, None, _json(event).replace(b'"?"', b'"a%bb"' % raw))


def by_hand() -> Iterator[Attempt]:
    """By a raw PUBLISH on the user's channel: bodies as over HTTP."""
    yield from (attempt for attempt in published() if attempt.path == Attempt._field_defaults["path"])
    yield from _between_tokens()


def stored() -> Iterator[tuple[Attempt, bytes]]:
    """As the gateway's own script writes them, into a history and on a channel: the envelope, and the id before."""
    for name, poison in POISONS.items():
        text = forgery(poison)
        yield Attempt(f"{name} in data", True, [text], _json({"event_type": "x", "data": [text]})), b"0-0"
        yield Attempt(f"{name} in event_type", False, None, _json({"event_type": text, "data": 1})), b"0-0"
        yield Attempt(f"{name} in p", False, None, _json({"event_type": "x", "data": 1})), text.encode()
    for name, raw in UNREADABLE.items():
        yield Attempt(f"{name} in data", False, None, b'{"event_type":"x","data":["%b"]}' % raw), b"0-0"
        yield Attempt(f"{name} in event_type", False, None, b'{"event_type":"a%b","data":1}' % raw), b"0-0"
    for attempt in _between_tokens():
        yield attempt, b"0-0"


def _between_tokens() -> Iterator[Attempt]:
    """JSON may hold ends of lines between its tokens: they reach the frame as they are."""
    for name in ("CR", "LF", "CRLF"):
        end = POISONS[name].encode()
        for label, blank in ((name, end), (f"two {name}", end * 2)):
            data = b"[1,%b2,%b3]" % (blank, blank)
            yield Attempt(f"{label} between tokens", True, [1, 2, 3], b'{"event_type":"x","data":%b}' % data)


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
