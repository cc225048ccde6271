"""`GET /v1/events`: from a client's request to the first bytes of its stream; `carrier.py` has it from there.

A long poll goes the same way up to its position; `poll.py` has it from there.

The response is aiohttp-sse's, for its headers and its TCP_USER_TIMEOUT; its ping task ends at once, since one
heartbeat serves all. Headers go out when the position in the history is known, so that whatever is published
after a client saw `200` reaches it.
"""

from __future__ import annotations

import asyncio
import random
import re
import socket
from functools import partial

import structlog
from aiohttp import HttpVersion11, web
from aiohttp_sse import EventSourceResponse

from .. import channels, fair
from ..auth.identity import Subscriber
from ..broker.registry import Verdict
from ..errors import (
    AtCapacity,
    BrokerUnavailable,
    GatewayError,
    InvalidEvent,
    InvalidRequest,
    KeysUnavailable,
    NotAllowed,
    NotAuthenticated,
)
from ..frames import retry_frame
from ..hub import CloseReason, Connection, Send
from ..ids import START, parse_cursor
from . import forms
from .auth import check_time_left, subscriber_of, void_ticket
from .carrier import Carrier
from .context import GATEWAY, Gateway
from .forms import Form
from .poll import Poll, answer

WAIT_FOR_POSITION = 2.0
"""Seconds after which headers are sent all the same: the broker is away, and the client should stay."""

SEND_BUFFER = 65_536
"""Bytes the kernel may hold for a client (it doubles them); its own default lets a stalled one take megabytes."""

_TYPES = re.compile(r"[A-Za-z0-9_.:-]{1,128}(\.\*)?|\*", re.ASCII)

log = structlog.get_logger(__name__)


def routes() -> list[web.RouteDef]:
    return [web.get("/v1/events", events, allow_head=False)]


async def events(request: web.Request) -> web.StreamResponse:
    gateway = request.app[GATEWAY]
    try:
        subscriber = await subscriber_of(request)
    except (KeysUnavailable, BrokerUnavailable) as error:
        return await _refuse(request, gateway, error.slug.replace("-", "_"), error)
    form = forms.wanted(request, gateway.settings.max_poll_seconds)
    connection = _connection(request, subscriber, form, gateway.settings.max_topics)
    if (reason := await _no_entry(gateway, subscriber)) is not None:
        return await _refuse(request, gateway, reason)
    if isinstance(connection, Poll):
        return await _poll(gateway, subscriber, connection, form)
    carrier = Carrier(gateway, subscriber, connection)
    try:
        positioned = await _positioned_soon(gateway, connection)
        check_time_left(request, subscriber)
        response = await _begin(request, gateway, carrier)
    except NotAuthenticated:
        carrier.left(CloseReason.EXPIRED)
        raise
    except BaseException:
        carrier.left(CloseReason.CLIENT_LEFT)
        raise
    carrier.begin(positioned=positioned)
    return response


async def _poll(gateway: Gateway, subscriber: Subscriber, poll: Poll, form: Form) -> web.Response:
    try:
        if not await _positioned_soon(gateway, poll):
            raise BrokerUnavailable("the broker is away")
        return await answer(gateway, subscriber, poll, form.wait or 0)
    finally:
        gateway.relay.leave(poll)
        gateway.registry.leave(subscriber.user_id)


async def _positioned_soon(gateway: Gateway, connection: Connection) -> bool:
    try:
        async with asyncio.timeout(WAIT_FOR_POSITION):
            await gateway.relay.open(connection)
    except TimeoutError:
        return False
    return True


async def _begin(request: web.Request, gateway: Gateway, carrier: Carrier) -> EventSourceResponse:
    """Headers, and the first bytes."""
    settings, connection = gateway.settings, carrier.connection
    if request.transport is None or request.transport.is_closing():
        raise ConnectionResetError("the client left before the stream began")
    response = _response(settings.send_timeout)
    response.headers["Heartbeat-Interval"] = f"{settings.heartbeat_interval:g}"
    response.headers["Content-Type"] = connection.encoding.content_type
    await response.prepare(request)
    response.stop_streaming()  # ends the ping task: the gateway's heartbeat serves all connections
    await response.wait()  # takes the task's exception, which else would hold the request in a cycle
    transport = request.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the client left before the stream began")
    _bound_buffers(transport, settings.max_buffer_bytes)
    connection.attach(transport, chunked=request.version >= HttpVersion11, send=_straight_to_the_socket(transport))
    connection.put(connection.encoding.retry(jittered(settings.retry_ms)) + connection.position())
    carrier.take_over(request, transport)
    return response


def _connection(request: web.Request, subscriber: Subscriber, form: Form, most_topics: int) -> Connection:
    names = request.query.getall("topic", [])
    if len(names) > most_topics:
        raise InvalidRequest(f"at most {most_topics} (GATEWAY_MAX_TOPICS) for one stream", field="topic")
    listen = [channels.user(subscriber.user_id), channels.BROADCAST]
    for name in names:
        try:
            listen.append(channels.topic(name))
        except InvalidEvent as error:
            raise InvalidRequest(error.detail, field="topic") from None
        if not subscriber.may_read(name):
            raise NotAllowed(f"the token's topics do not include {name!r}", field="topic")
    given = request.headers.get("Last-Event-ID") or request.query.get("last_event_id")
    make = partial(Connection if form.wait is None else Poll, listen, types=_types(request), encoding=form.encoding)
    if not given:
        return make()
    cursor = parse_cursor(given)
    if cursor is None:
        return make(START, unknown=given[:64].encode("ascii", "replace").decode())
    return make(cursor)


def _types(request: web.Request) -> list[str]:
    patterns = [pattern for given in request.query.getall("types", []) for pattern in given.split(",") if pattern]
    for pattern in patterns:
        if _TYPES.fullmatch(pattern) is None:
            raise InvalidRequest("event types, exact or 'prefix.*', separated by commas", field="types")
    return patterns


async def _no_entry(gateway: Gateway, subscriber: Subscriber) -> str | None:
    """Why this stream may not begin, or None: then the registry has counted it."""
    if (reason := _no_room(gateway)) is not None:
        return reason
    try:
        verdict = await gateway.registry.enter(subscriber.user_id, subscriber.ticket)
    except BrokerUnavailable:
        return "broker_unavailable"
    if verdict is not Verdict.ADMITTED:
        return verdict
    if (reason := _no_room(gateway)) is not None:  # others came while the registry was asked
        gateway.registry.leave(subscriber.user_id)
    return reason


def _no_room(gateway: Gateway) -> str | None:
    """Why there is no room for another stream in this process, or None."""
    settings = gateway.settings
    if gateway.draining:
        return "draining"
    if settings.max_connections and len(gateway.hub.connections) >= settings.max_connections:
        return "max_connections"
    return None


async def _refuse(
    request: web.Request, gateway: Gateway, reason: str, error: GatewayError | None = None
) -> web.StreamResponse:
    """An EventSource gives up for good on any status but 200, so it gets a stream that only says when to retry.

    Others get the error, which is one of capacity if none is given.
    """
    gateway.metrics.refused.labels(reason).inc()
    log.warning("stream.refused", reason=reason)
    if reason == Verdict.KEPT_AWAY:
        return web.Response(status=204, headers={"Cache-Control": "no-store"})  # the one answer that means: for good
    if reason == Verdict.VOID:
        raise void_ticket(request)
    retry_ms = jittered(gateway.settings.retry_ms)
    if not _is_event_source(request):
        raise error or AtCapacity(reason, retry_after=retry_ms / 1000)
    response = _response(gateway.settings.send_timeout)
    response.force_close()
    await response.prepare(request)
    response.stop_streaming()
    await response.write(retry_frame(retry_ms))
    return response


def _is_event_source(request: web.Request) -> bool:
    return "text/event-stream" in request.headers.get("Accept", "")


def _response(send_timeout: float) -> EventSourceResponse:
    response = EventSourceResponse(send_timeout=send_timeout)
    response.headers["Cache-Control"] = "no-store"
    return response


def _bound_buffers(transport: asyncio.Transport, most: int) -> None:
    """A quarter of the allowance is the high-water mark: past it the hub looks before it writes more."""
    transport.set_write_buffer_limits(high=most // 4, low=most // 16)
    if (sock := transport.get_extra_info("socket")) is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        fair.put_last(sock)


def _straight_to_the_socket(transport: asyncio.Transport) -> Send | None:
    """The `send` of asyncio's own socket object, where the transport is one over a plain socket (no TLS, no uvloop).

    The object, not its descriptor: once the transport has closed it, it fails, whoever was given its number since.
    """
    sock = getattr(transport, "_sock", None)
    return sock.send if isinstance(sock, socket.socket) else None


def jittered(value: float) -> int:
    """`value` ± 50 %, so that clients that left together do not return together."""
    return round(value * random.uniform(0.5, 1.5))
