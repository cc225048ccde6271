"""CloudEvents 1.0 in, from the JSON format and the HTTP binding's binary mode, and out, in the JSON format.

Rule: `type` is the event type, `time` when it occurred, `source` and `id` together the publisher's id (the
specification makes them unique together), and `subject` the user where the path names none. All attributes are kept as
they came, for subscribers who ask for CloudEvents; others get the data. Own code: the SDK knows no batches.
Source: https://github.com/cloudevents/spec/tree/v1.0.2/cloudevents (spec, formats/json-format,
bindings/http-protocol-binding).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import unquote_to_bytes
from uuid import uuid4

from .channels import BROADCAST
from .errors import InvalidEvent, InvalidRequest
from .events import Entry, SSEEvent

Decode = Callable[[bytes, str], object]
"""JSON text to a value; the second argument is the field that an error names."""

CURSOR: Final = "cursor"
"""The gateway's own extension attribute, in what subscribers get: where the event stands in the history."""

BINARY: Final = "data_base64"
"""In what is kept of a CloudEvent: true where the event's data is the base64 of bytes."""

REQUIRED: Final = ("specversion", "id", "source", "type")
MAX_ATTRIBUTES: Final = 64

_NAME = re.compile(r"[a-z0-9]{1,64}", re.ASCII)
_NOT_IN_STRINGS = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE)
_MEDIA_TYPE = re.compile(r"[!#-'*+.^`|~\w-]+/[!#-'*+.^`|~\w-]+ *(;.*)?", re.ASCII)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_OURS = {"event_type": "type", "user_id": "subject", "occurred_at": "time"}


def read(cloudevent: object, *, to_subject: bool, decode: Decode) -> SSEEvent:
    """One in the JSON format, decoded. Raises `InvalidEvent` naming the attribute."""
    if not isinstance(cloudevent, Mapping):
        raise InvalidEvent("a CloudEvent is a JSON object")
    attributes: dict[str, Any] = {name: _whole(value) for name, value in cloudevent.items() if value is not None}
    data = cloudevent.get("data")
    attributes.pop("data", None)
    encoded = attributes.pop(BINARY, None)
    _check(attributes)
    if encoded is None:
        return _event(attributes, data, to_subject)
    if data is not None:
        raise InvalidEvent("give either data or data_base64", field=BINARY)
    try:
        content = base64.b64decode(encoded, validate=True)
    except (ValueError, TypeError):
        raise InvalidEvent("must be base64 (RFC 4648, section 4)", field=BINARY) from None
    return _of_bytes(attributes, content, BINARY, to_subject, decode)


def _whole(value: object) -> object:
    """In JSON 5.0 is an integer too."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def read_binary(
    headers: Mapping[str, str], content_type: str | None, body: bytes, *, to_subject: bool, decode: Decode
) -> SSEEvent:
    """One of a request in binary mode: `headers` by attribute name, and a body that is the data alone."""
    if "datacontenttype" in headers:
        raise InvalidEvent("is what Content-Type says in binary mode; leave it out", field="ce-datacontenttype")
    try:
        attributes: dict[str, Any] = {name: _of_header(name, value) for name, value in headers.items()}
        if content_type is not None:
            attributes["datacontenttype"] = content_type
        _check(attributes)
        if not body:
            return _event(attributes, None, to_subject)
        return _of_bytes(attributes, body, "data", to_subject, decode)
    except InvalidEvent as error:
        header = {None: None, "data": "data", "datacontenttype": "Content-Type"}.get(error.field, f"ce-{error.field}")
        raise InvalidEvent(error.detail, field=header) from None


def _of_header(name: str, value: str) -> str:
    """A header's value as the attribute that it stands for (HTTP binding, 3.1.3.2)."""
    if (quoted := _QUOTED.fullmatch(value)) is not None:
        value = re.sub(r"\\(.)", r"\1", quoted[1])
    try:
        return unquote_to_bytes(value.encode()).decode()
    except UnicodeError:
        raise InvalidEvent("is not percent-encoded UTF-8", field=name) from None


def _check(attributes: Mapping[str, Any]) -> None:
    for name in REQUIRED:
        if name not in attributes:
            raise InvalidEvent("is missing, and every CloudEvent has it", field=name)
    if attributes["specversion"] != "1.0":
        raise InvalidEvent('must be "1.0", the version that is read here', field="specversion")
    if len(attributes) > MAX_ATTRIBUTES:
        raise InvalidEvent(f"a CloudEvent may have at most {MAX_ATTRIBUTES} attributes here")
    for name, value in attributes.items():
        if _NAME.fullmatch(name) is None:
            shown = name if name.isascii() and name.isprintable() else None
            raise InvalidEvent("an attribute's name is made of 1 to 64 of a-z and 0-9", field=shown)
        if isinstance(value, str):
            if _NOT_IN_STRINGS.search(value):
                raise InvalidEvent("holds a control character, or what is none of Unicode's characters", field=name)
        elif name in _STRINGS or not isinstance(value, int) or not -(2**31) <= value < 2**31:
            kind = "a string" if name in _STRINGS else "a string, a boolean or an integer of 32 bits"
            raise InvalidEvent(f"must be {kind}", field=name)
    for name, pattern in _STRINGS.items():
        if name in attributes and pattern.fullmatch(attributes[name]) is None:
            raise InvalidEvent(_EXPECTED[name], field=name)


_STRINGS = {
    "id": re.compile(".+"),
    "source": re.compile(r"\S+"),
    "type": re.compile(".+"),
    "subject": re.compile(".+"),
    "dataschema": re.compile(r"\S+"),
    "datacontenttype": _MEDIA_TYPE,
    "time": _MOMENT,
}
_EXPECTED = {
    "id": "must not be empty",
    "source": "must be a URI-reference, and not empty",
    "type": "must not be empty",
    "subject": "must not be empty; leave it out",
    "dataschema": "must be a URI",
    "datacontenttype": "must be a media type, such as application/json",
    "time": "must be a time as in 2026-01-02T03:04:05Z (RFC 3339)",
}


def _of_bytes(attributes: Mapping[str, Any], content: bytes, field: str, to_subject: bool, decode: Decode) -> SSEEvent:
    """JSON becomes its value, text a string, and all else the base64 of it."""
    kind = attributes.get("datacontenttype", "application/json").partition(";")[0].strip().lower()
    if kind.endswith(("/json", "+json")):
        try:
            return _event(attributes, decode(content, field), to_subject)
        except InvalidRequest as error:
            raise InvalidEvent(error.detail, field=field) from None
    if kind.startswith("text/"):
        try:
            return _event(attributes, content.decode(), to_subject)
        except UnicodeDecodeError:
            pass  # in another charset: kept as the bytes that it is
    return _event(attributes, base64.b64encode(content).decode(), to_subject, binary=True)


def _event(attributes: Mapping[str, Any], data: object, to_subject: bool, *, binary: bool = False) -> SSEEvent:
    if to_subject and "subject" not in attributes:
        raise InvalidEvent("is missing, and this path needs it to know whom to tell", field="subject")
    kept = {name: value for name, value in attributes.items() if name not in ("specversion", "type", CURSOR)}
    if binary:
        kept[BINARY] = True
    try:
        return SSEEvent(
            attributes["type"],
            attributes["subject"] if to_subject else None,
            data,
            id=_unique(attributes["source"], attributes["id"]),
            occurred_at=attributes.get("time"),
            cloudevent=json.dumps(kept, separators=(",", ":")).encode(),
        )
    except InvalidEvent as error:
        raise InvalidEvent(error.detail, field=_OURS.get(error.field or "", error.field)) from None


def _unique(source: str, id: str) -> str:
    """The two as one id. A digest: they may be long, and hold what an id may not."""
    both = f"{len(source)}:{source}{id}".encode()
    return f"cloudevent:{hashlib.blake2b(both, digest_size=24).hexdigest()}"


def written(entry: Entry) -> bytes:
    """An entry in the JSON format, on one line.

    One that came as a CloudEvent leaves with the attributes that it came with. Another is from the path that it could
    be published on, under its event id; without one, under an id made up for it. Its data may have any JSON's spaces.
    """
    kept = _kept(entry.cloudevent)
    attributes: dict[str, object] = {
        "specversion": "1.0",
        "id": uuid4().hex if entry.id is None else str(entry.id),
        "source": _source(entry.channel),
        "type": entry.event_type,
    }
    if entry.channel.startswith("user:"):
        attributes["subject"] = entry.channel.removeprefix("user:")
    if (moment := _moment(entry)) is not None:
        attributes["time"] = moment
    attributes["datacontenttype"] = "application/json"
    if kept:
        attributes = kept | {"specversion": "1.0", "type": entry.event_type}
    binary = attributes.pop(BINARY, False)
    if entry.id is not None:
        attributes[CURSOR] = str(entry.id)
    head = json.dumps(attributes, separators=(",", ":"))[:-1]
    return b'%b,"%b":%b}' % (head.encode(), BINARY.encode() if binary else b"data", entry.data)


def _kept(cloudevent: bytes | None) -> dict[str, object]:
    """The attributes it came with, or none where what Redis holds in their place was not written here."""
    try:
        found = json.loads(cloudevent or b"{}")
        assert isinstance(found, dict)
        good: dict[str, object] = {
            name: value for name, value in found.items() if _NAME.fullmatch(name) and isinstance(value, str | int)
        }
        good.pop("data", None)
        return good | {BINARY: bool(found.get(BINARY))} if {"id", "source"} <= good.keys() else {}
    except (ValueError, AssertionError, RecursionError):
        return {}


def _source(channel: str) -> str:
    """The path that its events are published on; the gateway's own are on no channel, and are from the stream."""
    if channel == BROADCAST:
        return "/v1/broadcast"
    kind, _, name = channel.partition(":")
    return f"/v1/{kind}s/{name}/events" if name else "/v1/events"


def _moment(entry: Entry) -> str | None:
    """When it occurred, or else was published, in RFC 3339; None where that is not known."""
    try:
        if entry.occurred_at is not None:
            moment = datetime.fromisoformat(entry.occurred_at)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()
        if entry.id is not None:
            return datetime.fromtimestamp(entry.id.ms / 1000, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        pass
    return None
