"""The publish API: a body to events, each validated, all to the broker at once.

Rule: everything is checked before anything is published. A batch is taken whole or refused whole, naming the
first item that is wrong.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from aiohttp import web

from .. import channels
from ..auth.identity import Publisher
from ..broker.base import Publication, Receipt
from ..errors import BrokerUnavailable, GatewayError, InvalidEvent, InvalidRequest, Overloaded, TooLarge
from ..events import PUBLISHER_ID, SSEEvent
from . import answers, bodies, publish_log, request_ids
from .auth import publisher_of
from .context import GATEWAY, Gateway

ChannelOf = Callable[[SSEEvent], str]


def routes() -> list[web.RouteDef]:
    return [
        web.post("/v1/events", publish),
        web.post("/v1/users/{user_id}/events", publish_to_user),
        web.post("/v1/broadcast", broadcast),
        web.post("/v1/topics/{topic}/events", publish_to_topic),
    ]


async def publish(request: web.Request) -> web.StreamResponse:
    """To the channel of each event's own user."""
    return await _publish(request, _own_user, "user")


async def publish_to_user(request: web.Request) -> web.StreamResponse:
    """To the user in the path, whoever the event is about."""
    channel = channels.user(request.match_info["user_id"])
    return await _publish(request, lambda event: channel, "user")


async def broadcast(request: web.Request) -> web.StreamResponse:
    """To everyone who is connected."""
    return await _publish(request, lambda event: channels.BROADCAST, "broadcast")


async def publish_to_topic(request: web.Request) -> web.StreamResponse:
    """To those who listen to the topic in the path."""
    channel = channels.topic(request.match_info["topic"])
    return await _publish(request, lambda event: channel, "topic")


def _own_user(event: SSEEvent) -> str:
    if event.user_id is None:
        raise InvalidEvent("is missing, and this path needs it to know whom to tell", field="user_id")
    return channels.user(event.user_id)


async def _publish(request: web.Request, channel_of: ChannelOf, kind: str) -> web.StreamResponse:
    """`kind` is that of the channels, of which a path leads to one."""
    gateway = request.app[GATEWAY]
    started = time.perf_counter()
    publisher = await publisher_of(request)
    rate, request_id = gateway.publish_rate, request_ids.of(request)
    items: list[Publication] = []
    try:
        if rate is not None:
            rate.check(publisher.name)
        items, batch = await _items(request, gateway, publisher, channel_of)
        if rate is not None:
            rate.take(publisher.name, len(items))
        receipts = await _to_broker(gateway, items, kind)
    except (GatewayError, web.HTTPException) as error:
        outcome = error.slug if isinstance(error, GatewayError) else f"http-{error.status}"
        gateway.metrics.publishes_refused.labels(outcome).inc()
        publish_log.refused(publisher, kind, outcome, started, request_id)
        raise
    except asyncio.CancelledError:  # the publisher left, but what the broker was given may well be stored
        if items:
            publish_log.accepted(publisher, kind, len(items), started, request_id, publish_log.LEFT)
        raise
    gateway.metrics.publish_seconds.observe(time.perf_counter() - started)
    publish_log.accepted(publisher, kind, len(items), started, request_id)
    fields = {} if rate is None else rate.fields(publisher.name)
    return answers.taken(request, receipts, batch=batch, fields=fields)


async def _items(
    request: web.Request, gateway: Gateway, publisher: Publisher, channel_of: ChannelOf
) -> tuple[list[Publication], bool]:
    """What the body asks to publish, every item checked, and whether it came as a batch."""
    to_subject = channel_of is _own_user
    found, batch, read, type_field = await bodies.items(
        request, gateway.settings.max_batch_events, to_subject=to_subject
    )
    key, most = _idempotency_key(request), gateway.settings.max_event_bytes
    items = []
    for index, item in enumerate(found):
        try:
            event = read(item)
            if gateway.catalogue is not None:
                gateway.catalogue.check(event, type_field=type_field)
            channel = channel_of(event)
        except InvalidEvent as error:
            raise (InvalidEvent.at(index, error) if batch else error) from None
        if (size := len(event.data_json) + len(event.cloudevent or b"")) > most:
            raise _too_large(size, index if batch else None, most)
        publisher.require(channel)
        items.append(Publication(channel, event, f"{key}/{index}" if key and batch else key))
    return items, batch


async def _to_broker(gateway: Gateway, items: list[Publication], kind: str) -> list[Receipt]:
    outcome = "unavailable"
    try:
        receipts = await gateway.relays.publish(items) if items else []
        outcome = "accepted"
        return receipts
    except Overloaded:
        outcome = "overloaded"
        raise
    except BrokerUnavailable as error:
        raise BrokerUnavailable(f"{error.detail}; whether it was stored is not known") from error
    finally:
        gateway.metrics.published_of(kind, outcome).inc(len(items))


def _too_large(size: int, index: int | None, most: int) -> TooLarge:
    field = "data" if index is None else f"[{index}].data"
    return TooLarge(f"is {size} bytes; at most {most} (GATEWAY_MAX_EVENT_BYTES) are taken", field=field)


def _idempotency_key(request: web.Request) -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and PUBLISHER_ID.fullmatch(key) is None:
        raise InvalidRequest("must be 1 to 256 printable ASCII characters, no spaces", field="Idempotency-Key")
    return key
