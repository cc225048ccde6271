"""Announcements and history entries -> `Entry`.

What the publish script wrote was validated before, and names its id and the one before it: its data stays the
JSON text that it is. As anybody may write the like, what would break a frame is looked at again. Anything else on
the channel was published by hand; it goes through the same validation as an HTTP body, and has no id.
"""

from __future__ import annotations

import json
from functools import lru_cache

import msgspec

from ...errors import InvalidEvent
from ...events import EVENT_TYPE, MAX_RETRY_MS, RESERVED_PREFIX, Entry, SSEEvent, safe_lines
from ...ids import START, EventId

REMEMBERED_ENTRIES = 4096
REMEMBERED_SIZE = 2048
"""Bytes of an envelope: with `REMEMBERED_ENTRIES` a bound on what is remembered, 8 MiB."""


class _Envelope(msgspec.Struct):
    """The fields that delivery needs; others are for publishers."""

    event_type: str
    data: msgspec.Raw
    id: str = ""
    previous: str = ""
    retry: int | None = None
    ttl: float | None = None
    key: str | None = None
    occurred_at: str | None = None
    cloudevent: msgspec.Raw = msgspec.Raw()


_decode = msgspec.json.Decoder(_Envelope).decode


def announced(channel: str, payload: bytes) -> Entry:
    """A pub/sub message. Raises `InvalidEvent` when it is not an event."""
    try:
        envelope = _decode(payload)
        if not (envelope.id and envelope.previous):
            return published_by_hand(channel, payload)
        return _entry(channel, EventId.parse(envelope.id), EventId.parse(envelope.previous), envelope)
    except InvalidEvent:
        raise
    except Exception as error:  # whatever a hostile payload provokes: the message is at fault, not the listener
        raise InvalidEvent(f"not an event: {type(error).__name__}") from error


def stored(channel: str, id: bytes, fields: list[bytes]) -> Entry:
    """A history entry: its stream id, and the fields `e` (envelope) and `p` (previous id).

    Many clients that come back at once read the same entries: small ones are parsed once.
    """
    parse = _stored if len(fields[1]) <= REMEMBERED_SIZE else _stored.__wrapped__
    return parse(channel, id, *fields)


@lru_cache(REMEMBERED_ENTRIES)
def _stored(channel: str, id: bytes, *fields: bytes) -> Entry:
    named = dict(zip(fields[::2], fields[1::2], strict=True))
    return _entry(channel, EventId.parse(id.decode()), EventId.parse(named[b"p"].decode()), _decode(named[b"e"]))


def published_by_hand(channel: str, payload: bytes) -> Entry:
    """A raw `PUBLISH`, or without retention any: validated in full, delivered live, not retained."""
    envelope = json.loads(payload)
    cloudevent = envelope.pop("cloudevent", None) if isinstance(envelope, dict) else None
    entry = Entry.of(SSEEvent.from_envelope(envelope), channel, None, None)
    return entry if cloudevent is None else entry._replace(cloudevent=json.dumps(cloudevent).encode())


def _entry(channel: str, id: EventId, previous: EventId, envelope: _Envelope) -> Entry:
    event_type, data = envelope.event_type, bytes(envelope.data)
    if EVENT_TYPE.fullmatch(event_type) is None or event_type.startswith(RESERVED_PREFIX):
        raise InvalidEvent("not one that a publisher may send", field="event_type")
    if envelope.retry is not None and not 0 <= envelope.retry <= MAX_RETRY_MS:
        raise InvalidEvent(f"must be from 0 to {MAX_RETRY_MS}", field="retry")
    if not data.isascii():  # the JSON decoder did not look into it
        data = safe_lines(data.decode()).encode()
    return Entry(
        channel,
        id,
        event_type,
        data,
        None if previous == START else previous,
        envelope.retry,
        envelope.ttl,
        envelope.key,
        envelope.occurred_at,
        bytes(envelope.cloudevent) or None,
    )
