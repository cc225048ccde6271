"""The publish API: a body to events, each validated, all to the broker at once.

Rule: everything is checked before anything is published. A batch is taken whole or refused whole, naming the
first item that is wrong.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from aiohttp import web

from .. import channels
from ..broker.base import Publication, Receipt
from ..errors import BrokerUnavailable, InvalidEvent, InvalidRequest, TooLarge, UnsupportedType
from ..events import PUBLISHER_ID, SSEEvent
from .auth import publisher_of
from .context import GATEWAY, Gateway

NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl")

ChannelOf = Callable[[SSEEvent], str]


def routes() -> list[web.RouteDef]:
    return [
        web.post("/v1/events", publish),
        web.post("/v1/users/{user_id}/events", publish_to_user),
        web.post("/v1/broadcast", broadcast),
        web.post("/v1/topics/{topic}/events", publish_to_topic),
    ]


async def publish(request: web.Request) -> web.Response:
    """To the channel of each event's own user."""
    return await _publish(request, _own_user)


async def publish_to_user(request: web.Request) -> web.Response:
    """To the user in the path, whoever the event is about."""
    channel = channels.user(request.match_info["user_id"])
    return await _publish(request, lambda event: channel)


async def broadcast(request: web.Request) -> web.Response:
    """To everyone who is connected."""
    return await _publish(request, lambda event: channels.BROADCAST)


async def publish_to_topic(request: web.Request) -> web.Response:
    """To those who listen to the topic in the path."""
    channel = channels.topic(request.match_info["topic"])
    return await _publish(request, lambda event: channel)


def _own_user(event: SSEEvent) -> str:
    if event.user_id is None:
        raise InvalidEvent("is missing, and this path needs it to know whom to tell", field="user_id")
    return channels.user(event.user_id)


async def _publish(request: web.Request, channel_of: ChannelOf) -> web.Response:
    gateway = request.app[GATEWAY]
    started = time.perf_counter()
    publisher = await publisher_of(request)
    envelopes, batch = await _envelopes(request, gateway.settings.max_batch_events)
    key = _idempotency_key(request)
    items = []
    for index, envelope in enumerate(envelopes):
        try:
            event = SSEEvent.from_envelope(envelope)
            channel = channel_of(event)
        except InvalidEvent as error:
            raise (InvalidEvent.at(index, error) if batch else error) from None
        _check_size(event, index if batch else None, gateway.settings.max_event_bytes)
        publisher.require(channel)
        items.append(Publication(channel, event, f"{key}/{index}" if key and batch else key))
    receipts = await _to_broker(gateway, items)
    gateway.metrics.publish_seconds.observe(time.perf_counter() - started)
    answers = [_answer(receipt) for receipt in receipts]
    return web.json_response(answers if batch else answers[0], status=202)


async def _to_broker(gateway: Gateway, items: list[Publication]) -> list[Receipt]:
    outcome = "unavailable"
    try:
        receipts = await gateway.relay.broker.publish(items)
        outcome = "accepted"
        return receipts
    except BrokerUnavailable as error:
        raise BrokerUnavailable(f"{error.detail}; whether it was stored is not known") from error
    finally:
        for item in items:
            gateway.metrics.published.labels(channels.kind(item.channel), outcome).inc()


async def _envelopes(request: web.Request, most: int) -> tuple[list[object], bool]:
    """The decoded items of a body, and whether they came as a batch."""
    content_type = request.content_type
    if content_type != "application/json" and content_type not in NDJSON:
        raise UnsupportedType(
            f"{content_type} is not read here; send application/json (an event, or an array of events) "
            "or application/x-ndjson (an event a line)"
        )
    text = _utf8(await _body(request))
    if content_type in NDJSON:
        lines = [line for line in text.split("\n") if line.strip()]
        items = [_json(line, f"[{index}]") for index, line in enumerate(lines)]
    else:
        body = _json(text, None)
        if not isinstance(body, list):
            return [body], False
        items = body
    if not items:
        raise InvalidRequest("the batch is empty")
    if len(items) > most:
        raise TooLarge(f"the batch has {len(items)} events; at most {most} (GATEWAY_MAX_BATCH_EVENTS) are taken")
    return items, True


async def _body(request: web.Request) -> bytes:
    try:
        return await request.read()
    except web.RequestPayloadError:
        raise InvalidRequest("the body cannot be read: it is cut off, or not in its Content-Encoding") from None


def _utf8(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"the body is not UTF-8 (byte {error.start})") from None


def _json(text: str, field: str | None) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise InvalidRequest(f"not JSON: {error.msg} ({where})", field=field) from None
    except RecursionError:
        raise InvalidRequest("the JSON is nested too deeply", field=field) from None
    except ValueError as error:  # a number of thousands of digits
        raise InvalidRequest(f"not JSON: {error}", field=field) from None


def _check_size(event: SSEEvent, index: int | None, most: int) -> None:
    if len(event.data_json) > most:
        field = "data" if index is None else f"[{index}].data"
        size = len(event.data_json)
        raise TooLarge(f"is {size} bytes; at most {most} (GATEWAY_MAX_EVENT_BYTES) are taken", field=field)


def _idempotency_key(request: web.Request) -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and PUBLISHER_ID.fullmatch(key) is None:
        raise InvalidRequest("must be 1 to 256 printable ASCII characters, no spaces", field="Idempotency-Key")
    return key


def _answer(receipt: Receipt) -> dict[str, object]:
    return {"id": str(receipt.id) if receipt.id is not None else None, "receivers": receipt.receivers}
