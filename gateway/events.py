"""What a publisher sends, and what the broker holds of it.

An `SSEEvent` is validated, and its data encoded, when it is made: one that exists can be published, and later
changes to the object passed as `data` do not reach it. An `Entry` is the event after publishing: its place
(channel, id) and its bytes. The envelope is the JSON form that HTTP bodies, pub/sub messages and history share.
"""

from __future__ import annotations

import json
import json.encoder
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from .channels import user_id as checked_user_id
from .errors import InvalidEvent
from .ids import EventId

EVENT_TYPE = re.compile(r"[A-Za-z0-9_.:-]{1,128}", re.ASCII)
PUBLISHER_ID = re.compile(r"[\x21-\x7e]{1,256}", re.ASCII)
RESERVED_PREFIX: Final = "gateway."
MAX_RETRY_MS: Final = 3_600_000
MAX_TTL: Final = 30 * 86_400.0

_NOT_ENDS_OF_LINES = {0x85: "\\u0085", 0x2028: "\\u2028", 0x2029: "\\u2029"}

_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_to_json = _encoder.encode
_make_writer = getattr(json.encoder, "c_make_encoder", None)
_write = _make_writer and _make_writer(
    None, _encoder.default, json.encoder.encode_basestring, None, ":", ",", False, False, False
)
"""What `_to_json` makes anew for each call at half of its cost; without its guard against what contains itself."""

FIELDS: Final = ("event_type", "user_id", "data", "id", "occurred_at", "retry", "ttl", "key")
_REQUIRED: Final = ("event_type", "data")
_NAMES = frozenset(FIELDS)


@dataclass(frozen=True, slots=True, init=False)
class SSEEvent:
    """One event, ready to publish. Raises `InvalidEvent`, naming the field, when a value cannot be sent.

    event_type   what subscribers listen for; `[A-Za-z0-9_.:-]{1,128}`, a `StrEnum` member will do
    user_id      whose event it is: a `UUID` or `[A-Za-z0-9_.:@-]{1,128}`; only `publish` needs one
    data         anything JSON can hold
    id           the publisher's own id: publishing it again gives the first answer and no second event
    occurred_at  when it happened
    retry        milliseconds the client shall wait before it reconnects (WHATWG HTML, 9.2.6)
    ttl          seconds after which it is no longer worth replaying
    key          of retained events with the same key only the newest need be replayed
    cloudevent   attributes of the CloudEvent that it came as (JSON text, by `gateway.cloudevents`), for subscribers
                 who ask for CloudEvents
    """

    event_type: str
    user_id: str | None = None
    data: Any = None
    id: str | None = None
    occurred_at: datetime | None = None
    retry: int | None = None
    ttl: float | None = None
    key: str | None = None
    cloudevent: bytes | None = field(repr=False, default=None)
    data_json: bytes = field(init=False, repr=False, compare=False, default=b"")

    def __init__(
        self,
        event_type: str,
        user_id: str | UUID | None = None,
        data: Any = None,
        *,
        id: str | None = None,
        occurred_at: datetime | str | None = None,
        retry: int | None = None,
        ttl: float | None = None,
        key: str | None = None,
        cloudevent: bytes | None = None,
    ) -> None:
        put = object.__setattr__
        put(self, "event_type", _event_type(event_type))
        put(self, "user_id", None if user_id is None else checked_user_id(user_id))
        put(self, "data", data)
        put(self, "id", None if id is None else _printable("id", id))
        put(self, "occurred_at", None if occurred_at is None else _moment(occurred_at))
        put(self, "retry", None if retry is None else int(_number("retry", retry, MAX_RETRY_MS, whole=True)))
        put(self, "ttl", None if ttl is None else _number("ttl", ttl, MAX_TTL))
        put(self, "key", None if key is None else _printable("key", key))
        put(self, "cloudevent", cloudevent)
        put(self, "data_json", _data(data))

    @classmethod
    def from_envelope(cls, envelope: object) -> SSEEvent:
        """The event in a decoded JSON body. Raises `InvalidEvent` for a missing, unknown or bad field."""
        if type(envelope) is not dict and not isinstance(envelope, Mapping):
            raise InvalidEvent("an event is a JSON object")
        for name in envelope:
            if name not in _NAMES:
                shown = _printable_or_hidden(name)
                raise InvalidEvent(f"unknown field; known are {', '.join(FIELDS)}", field=shown)
        for name in _REQUIRED:
            if name not in envelope:
                raise InvalidEvent("is missing", field=name)
        return cls(**envelope)

    def to_envelope(self) -> bytes:
        """The event as compact JSON, without `id`: the broker puts the id that it assigns in its place."""
        head = f'{{"event_type":"{self.event_type}"'  # no character of its grammar is escaped in JSON
        if self.user_id is not None:
            head += f',"user_id":"{self.user_id}"'
        if self.occurred_at is not None:
            head += f',"occurred_at":{_to_json(self.occurred_at.isoformat())}'
        if self.retry is not None:
            head += f',"retry":{self.retry}'
        if self.ttl is not None:
            head += f',"ttl":{_to_json(self.ttl)}'
        if self.key is not None:
            head += f',"key":{_to_json(self.key)}'
        if self.cloudevent is not None:
            return b'%b,"cloudevent":%b,"data":%b}' % (head.encode(), self.cloudevent, self.data_json)
        return b'%b,"data":%b}' % (head.encode(), self.data_json)


class Entry(NamedTuple):
    """An event as the broker hands it on: in an announcement, and when history is read.

    `id` is None for an event that is not retained. `previous` is the id of the event before it in its channel,
    so that whoever has read that one knows that nothing lies between. `data` and `cloudevent` are JSON text, never
    decoded on the way.
    """

    channel: str
    id: EventId | None
    event_type: str
    data: bytes
    previous: EventId | None = None
    retry: int | None = None
    ttl: float | None = None
    key: str | None = None
    occurred_at: str | None = None
    cloudevent: bytes | None = None

    @classmethod
    def of(cls, event: SSEEvent, channel: str, id: EventId | None, previous: EventId | None) -> Entry:
        """An event at its place."""
        moment = None if event.occurred_at is None else event.occurred_at.isoformat()
        data, cloudevent = event.data_json, event.cloudevent
        return cls(channel, id, event.event_type, data, previous, event.retry, event.ttl, event.key, moment, cloudevent)


def safe_lines(text: str) -> str:
    """JSON text without the characters that Unicode has for ends of lines, and the event stream has not.

    They can only stand in strings, where JSON has escapes for them. Clients that split lines by Unicode's rules
    (Python's `splitlines`) would take what follows for a field.
    """
    return text if text.isascii() else text.translate(_NOT_ENDS_OF_LINES)


def _event_type(value: object) -> str:
    if not isinstance(value, str) or EVENT_TYPE.fullmatch(value) is None:
        raise InvalidEvent("must be 1 to 128 of the characters A-Z a-z 0-9 _ . : -", field="event_type")
    if value.startswith(RESERVED_PREFIX):
        raise InvalidEvent(f"the prefix {RESERVED_PREFIX!r} is the gateway's own", field="event_type")
    return str.__str__(value)  # an enum's member becomes the plain string it stands for


def _printable(name: str, value: object) -> str:
    if not isinstance(value, str) or PUBLISHER_ID.fullmatch(value) is None:
        raise InvalidEvent("must be 1 to 256 printable ASCII characters, no spaces", field=name)
    return str.__str__(value)


def _printable_or_hidden(name: object) -> str:
    return name if isinstance(name, str) and PUBLISHER_ID.fullmatch(name) else "(unprintable)"


def _number(name: str, value: object, most: float, *, whole: bool = False) -> float:
    """`value` from 0 to `most`. In JSON 5.0 is a whole number too."""
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 0 <= value <= most
        or (whole and value != int(value))
    ):
        kind = "a whole number" if whole else "a number"
        raise InvalidEvent(f"must be {kind} from 0 to {most:.0f}", field=name)
    return value


def _moment(value: object) -> datetime:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise InvalidEvent("must be an ISO 8601 date and time", field="occurred_at") from None
    if isinstance(value, datetime):
        return value
    raise InvalidEvent("must be a date and time (ISO 8601 in JSON)", field="occurred_at")


def _data(value: object) -> bytes:
    if _write is not None:
        try:
            return safe_lines("".join(_write(value, 0))).encode()
        except Exception:  # `_to_json` finds it too, and can tell a circle from depth
            pass
    try:
        return safe_lines(_to_json(value)).encode()
    except UnicodeEncodeError:
        raise InvalidEvent("holds a lone surrogate, which UTF-8 cannot carry", field="data") from None
    except RecursionError:
        raise InvalidEvent("is nested too deeply, or contains itself", field="data") from None
    except (TypeError, ValueError) as error:
        raise InvalidEvent(f"is not JSON: {error}", field="data") from None
