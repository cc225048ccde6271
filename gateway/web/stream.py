"""`GET /v1/events`: from a client's request to the first bytes of its stream; `carrier.py` has it from there.

A long poll goes the same way up to its position; `poll.py` has it from there.

The response is aiohttp-sse's, for its headers and its TCP_USER_TIMEOUT; its ping task ends at once, since one
heartbeat serves all. Headers go out when the position in the history is known, so that whatever is published
after a client saw `200` reaches it.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Sequence

from aiohttp import HttpVersion11, web
from aiohttp_sse import EventSourceResponse

from .. import fair
from ..auth.identity import Subscriber
from ..errors import BrokerUnavailable, GatewayError, NotAuthenticated
from ..hub import CloseReason, Connection, Send
from ..relay import Relay
from . import admission, asked, forms, refusal, request_ids
from .auth import check_time_left, subscriber_of
from .carrier import Carrier
from .context import GATEWAY, Gateway
from .forms import Form
from .poll import Parts, answer

WAIT_FOR_POSITION = 2.0
"""Seconds after which headers are sent all the same: the broker is away, and the client should stay."""

SEND_BUFFER = 65_536
"""Bytes the kernel may hold for a client (it doubles them); its own default lets a stalled one take megabytes."""


def routes() -> list[web.RouteDef]:
    return [web.get("/v1/events", events, allow_head=False)]


async def events(request: web.Request) -> web.StreamResponse:
    gateway = request.app[GATEWAY]
    address = admission.address_of(request)
    try:
        admission.knock(gateway, address)
        subscriber, form, parts = await _admitted(request, gateway, address)
    except GatewayError as error:
        return await refusal.answer(request, error)
    if form.wait is not None:
        return await _poll(request, subscriber, parts, form.wait, address)
    return await opened(request, Carrier(gateway, subscriber, parts, address, request_id=request_ids.of(request)))


async def opened(request: web.Request, carrier: Carrier) -> web.StreamResponse:
    """The stream of whoever was let in, begun. It is the carrier's then."""
    gateway = request.app[GATEWAY]
    try:
        positioned = await _positioned_soon(carrier.open())
        check_time_left(request, carrier.subscriber)
        response = await _begin(request, gateway, carrier)
    except NotAuthenticated:
        carrier.left(CloseReason.EXPIRED)
        raise
    except BaseException:
        carrier.left(CloseReason.CLIENT_LEFT)
        raise
    carrier.begin(positioned=positioned)
    return response


async def _admitted(
    request: web.Request, gateway: Gateway, address: str | None
) -> tuple[Subscriber, Form, Sequence[tuple[Relay, Connection]]]:
    """Whoever may have what it asks for. The place of its address is kept, or given back."""
    try:
        subscriber = await subscriber_of(request)
        form = forms.wanted(request, gateway.settings.max_poll_seconds)
        parts = asked.connections(request, subscriber, form, gateway)
        await admission.enter(request, subscriber)
    except BaseException:
        gateway.newcomers.leave(address)
        raise
    return subscriber, form, parts


async def _poll(
    request: web.Request, subscriber: Subscriber, parts: Parts, wait: float, address: str | None
) -> web.Response:
    gateway = request.app[GATEWAY]
    try:
        if not await _positioned_soon(asyncio.gather(*(relay.open(each) for relay, each in parts))):
            raise BrokerUnavailable("the broker is away")
        check_time_left(request, subscriber)
        return await answer(gateway, subscriber, parts, wait)
    finally:
        for relay, each in parts:
            relay.leave(each)
        gateway.registry.leave(subscriber.user_id)
        gateway.newcomers.leave(address)


async def _positioned_soon(opening: Awaitable[object]) -> bool:
    try:
        async with asyncio.timeout(WAIT_FOR_POSITION):
            await opening
    except TimeoutError:
        return False
    return True


async def _begin(request: web.Request, gateway: Gateway, carrier: Carrier) -> EventSourceResponse:
    """Headers, and the first bytes."""
    settings, connection = gateway.settings, carrier.connection
    if request.transport is None or request.transport.is_closing():
        raise ConnectionResetError("the client left before the stream began")
    response = refusal.event_stream(settings.send_timeout)
    response.headers["Heartbeat-Interval"] = f"{settings.heartbeat_interval:g}"
    response.headers["Content-Type"] = connection.encoding.content_type
    await response.prepare(request)
    response.stop_streaming()  # ends the ping task: the gateway's heartbeat serves all connections
    await response.wait()  # takes the task's exception, which else would hold the request in a cycle
    transport = request.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the client left before the stream began")
    _bound_buffers(transport, settings.max_buffer_bytes)
    carrier.attach(transport, chunked=request.version >= HttpVersion11, send=_straight_to_the_socket(transport))
    connection.put(connection.encoding.retry(refusal.jittered(settings.retry_ms)) + connection.position())
    carrier.take_over(request, transport)
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
