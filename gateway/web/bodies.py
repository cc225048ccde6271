"""A request's body -> decoded items, and how each becomes an event: the gateway's own form, or CloudEvents.

msgspec reads what is right six times as fast as the standard library, but tells less of what is wrong, and takes a
little less (NaN, lone surrogates, numbers beyond any float). So what it does not take is read again by `json`, which
decides, and explains.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import msgspec
from aiohttp import hdrs, web

from .. import cloudevents
from ..errors import InvalidRequest, TooLarge, TooSlow, UnsupportedType
from ..events import SSEEvent
from .context import GATEWAY

CODINGS = ("gzip", "deflate", "identity")
NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl")

CLOUDEVENT = "application/cloudevents+json"
CLOUDEVENTS = "application/cloudevents-batch+json"
_CLOUDEVENT_HEADERS = tuple(f"ce-{name}" for name in cloudevents.REQUIRED)

_decode = msgspec.json.Decoder().decode


class Items(NamedTuple):
    """`read` makes an event of an item, or raises `InvalidEvent`. `batch` is whether they came as one.

    `type_field` is where the publisher said what the event type is.
    """

    found: list[object]
    batch: bool
    read: Callable[[object], SSEEvent] = SSEEvent.from_envelope
    type_field: str = "event_type"


async def items(request: web.Request, most: int, *, to_subject: bool) -> Items:
    """What a body holds, at most so many items. `to_subject`: a CloudEvent's subject is the user it is for."""
    content_type = request.content_type
    if content_type.startswith("application/cloudevents"):
        items = _structured(content_type, await _body(request), to_subject)
    elif any(name in request.headers for name in _CLOUDEVENT_HEADERS):
        return await _binary(request, to_subject)
    elif content_type == "application/json":
        body = _json(await _body(request))
        if not isinstance(body, list):
            return Items([body], False)
        items = Items(body, True)
    elif content_type in NDJSON:
        lines = [line for line in _utf8(await _body(request)).split("\n") if line.strip()]
        _check_number(len(lines), most)  # before they are read: two bytes are a line
        items = Items([_json(line, f"[{index}]") for index, line in enumerate(lines)], True)
    else:
        raise _unsupported(content_type)
    if not items.found and content_type != CLOUDEVENTS:  # which may be empty, as its specification has it
        raise InvalidRequest("the batch is empty")
    _check_number(len(items.found), most)
    return items


def _check_number(events: int, most: int) -> None:
    if events > most:
        raise TooLarge(f"the batch has {events} events; at most {most} (GATEWAY_MAX_BATCH_EVENTS) are taken")


def _structured(content_type: str, content: bytes, to_subject: bool) -> Items:
    if content_type not in (CLOUDEVENT, CLOUDEVENTS):
        raise UnsupportedType(f"of CloudEvents' formats {CLOUDEVENT} and {CLOUDEVENTS} are read here")
    body, batch = _json(content), content_type == CLOUDEVENTS
    if isinstance(body, list) is not batch:
        belongs = f"an array belongs to {CLOUDEVENTS}, one event to {CLOUDEVENT}"
        raise InvalidRequest(f"the body is not what Content-Type says: {belongs}", field="Content-Type")
    read = partial(cloudevents.read, to_subject=to_subject, decode=_json)
    return Items(body if isinstance(body, list) else [body], batch, read, "type")


async def _binary(request: web.Request, to_subject: bool) -> Items:
    """The data is the body, and each attribute a header."""
    if request.content_type == "application/x-www-form-urlencoded":  # what curl says by itself
        raise UnsupportedType("the body is no form; say what it is, for example Content-Type: application/json")
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        prefix, attribute = name[:3].lower(), name[3:].lower()
        if prefix == "ce-" and attribute in headers:
            raise InvalidRequest("is given twice", field=prefix + attribute)
        if prefix == "ce-":
            headers[attribute] = value
    body, content_type = await _body(request), request.headers.get(hdrs.CONTENT_TYPE)
    return Items(
        [body],
        False,
        lambda _: cloudevents.read_binary(headers, content_type, body, to_subject=to_subject, decode=_json),
        "ce-type",
    )


def _unsupported(content_type: str) -> UnsupportedType:
    return UnsupportedType(
        f"{content_type} is not read here; send application/json (an event, or an array of events), "
        f"application/x-ndjson (an event a line), or CloudEvents ({CLOUDEVENT}, {CLOUDEVENTS}, or ce- headers)"
    )


async def _body(request: web.Request) -> bytes:
    _check_codings(request.headers)
    content = request.content
    try:
        if content.is_eof() and content.total_bytes <= request.client_max_size:
            return content.read_nowait()  # all of it is there, as mostly
        return await _rest_of_body(request)
    except web.RequestPayloadError:
        raise InvalidRequest("the body cannot be read: it is cut off, or not in its Content-Encoding") from None


async def _rest_of_body(request: web.Request) -> bytes:
    within = request.app[GATEWAY].settings.body_timeout
    try:
        async with asyncio.timeout(within):
            return await request.read()
    except TimeoutError:
        raise TooSlow(f"its body did not arrive within {within:g} s (GATEWAY_BODY_TIMEOUT)") from None


def _check_codings(headers: Mapping[str, str]) -> None:
    """aiohttp reads a body in codings that it does not know as if there were none; a proxy may have known better."""
    if "Transfer-Encoding" in headers and headers["Transfer-Encoding"].strip().lower() != "chunked":
        raise InvalidRequest("only chunked is read here", field="Transfer-Encoding")
    if "Content-Encoding" in headers and headers["Content-Encoding"].strip().lower() not in CODINGS:
        raise UnsupportedType(f"must be one of {', '.join(CODINGS)}", field="Content-Encoding")


def _json(body: bytes | str, field: str | None = None) -> object:
    try:
        return _decode(body)
    except Exception:
        return _json_or_why(body if isinstance(body, str) else _utf8(body), field)


def _json_or_why(text: str, field: str | None) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise InvalidRequest(f"not JSON: {error.msg} ({where})", field=field) from None
    except RecursionError:
        raise InvalidRequest("the JSON is nested too deeply", field=field) from None
    except ValueError as error:  # a number of thousands of digits
        raise InvalidRequest(f"not JSON: {error}", field=field) from None


def _utf8(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"the body is not UTF-8 (byte {error.start})") from None
