"""What carries a stream once its headers are out.

aiohttp has done its part by then. Its parser, request and response, its two tasks for a request and their frames
would stay for as long as the client does, and take more than all that a stream needs. So the transport is given
another protocol, and aiohttp is told that the connection is gone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import structlog
from aiohttp import web

from ..auth.identity import Subscriber
from ..guide import Guide
from ..hub import CloseReason, Connection, Send
from ..relay import Relay
from ..relays import LegGuide
from ..telemetry.logging import user_hash
from .context import GATEWAY, Gateway
from .lifetime import Lifetime

LAST_BYTES = 1.0
"""Seconds for the last bytes of streams at the end of the process, and of who must not read on."""
AT_ONCE = (CloseReason.EXPIRED, CloseReason.REVOKED)

LOOK_AGAIN = 0.02
LAST_CHUNK = b"0\r\n\r\n"

log = structlog.get_logger(__name__)


class Carrier(Guide, asyncio.Protocol):
    """A stream's place in the process, from its request to its end; the transport's protocol from `take_over` on."""

    __slots__ = (
        "_address",
        "_deadline",
        "_gateway",
        "_legs",
        "_lifetime",
        "_paused",
        "_request_id",
        "_room",
        "_transport",
        "since",
        "subscriber",
    )

    _transport: asyncio.Transport
    _lifetime: Lifetime

    def __init__(
        self,
        gateway: Gateway,
        subscriber: Subscriber,
        parts: Sequence[tuple[Relay, Connection]],
        address: str | None = None,
        *,
        request_id: str,
    ) -> None:
        (relay, connection), *others = parts
        super().__init__(relay, connection)
        self._legs = tuple(LegGuide(*other, self) for other in others)
        self._address = address
        self._request_id = request_id
        self._gateway = gateway
        self.subscriber = subscriber
        self.since = time.monotonic()
        self._paused = False
        self._room: asyncio.Future[None] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        gateway.metrics.opened.inc()

    async def open(self) -> None:
        if self._legs:
            await asyncio.gather(super().open(), *(leg.open() for leg in self._legs))
        else:
            await super().open()

    def attach(self, transport: asyncio.Transport, *, chunked: bool, send: Send | None) -> None:
        for connection in (self.connection, *(leg.connection for leg in self._legs)):
            connection.attach(transport, chunked=chunked, send=send)

    def begin(self, *, positioned: bool) -> None:
        super().begin(positioned=positioned)
        if positioned:
            self.opened()

    def opened(self) -> None:
        for leg in self._legs:
            leg.begin(positioned=True)

    def take_over(self, request: web.Request, transport: asyncio.Transport) -> None:
        """From aiohttp. What the client still sends is ignored; its handler is cancelled, as if the client had left."""
        protocol, age = request.protocol, self._gateway.settings.max_connection_age
        self._transport = transport
        self._paused = protocol.writing_paused
        self._lifetime = Lifetime(self.connection, self.subscriber.seconds_left(time.time()), age)
        transport.set_protocol(self)
        protocol.transport = None  # else it would close it
        protocol.connection_lost(None)
        transport.resume_reading()

    def ended(self, reason: CloseReason) -> None:
        """Whole, unless the client would never take the rest, or must not take it for the end.

        What waits for the client goes out first, for a time that is bounded: one that takes a byte now and then would
        hold its buffer, and read on, for ever.
        """
        transport = self._transport
        self.left(reason)
        self._lifetime.cancel()
        self._gateway.ending.add(self)
        if reason in (CloseReason.STALLED, CloseReason.FAILED):
            transport.abort()
            return
        if self.connection.chunked and not transport.is_closing():
            transport.write(LAST_CHUNK)
        transport.close()
        if transport.get_write_buffer_size():
            within = LAST_BYTES if reason in AT_ONCE else self._gateway.settings.send_timeout
            self._deadline = asyncio.get_running_loop().call_later(within, transport.abort)

    def left(self, reason: CloseReason) -> None:
        """Deregister, count and log it."""
        user_id = self.subscriber.user_id
        self.relay.leave(self.connection)
        for leg in self._legs:
            leg.forget()
            leg.relay.leave(leg.connection)
        self._gateway.registry.leave(user_id)
        self._gateway.newcomers.leave(self._address)
        self._gateway.metrics.closed.labels(reason).inc()
        log.info(
            "stream.closed",
            reason=reason,
            seconds=round(time.monotonic() - self.since, 3),
            user=user_hash(user_id),
            channels=sum(len(each.channels) for each in (self.connection, *(leg.connection for leg in self._legs))),
            cursor=str(self.connection.last_event_id()),
            request_id=self._request_id,
        )

    def abort(self) -> None:
        self._transport.abort()

    # The transport's side

    def connection_lost(self, exc: Exception | None) -> None:
        if self.connection.guide is not None:
            self.forget()
            self._lifetime.cancel()
            self.left(CloseReason.CLIENT_LEFT)
        if self._deadline is not None:
            self._deadline.cancel()
        self._gateway.ending.discard(self)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    async def drained(self) -> None:
        if self._paused:
            if self._room is None or self._room.done():
                self._room = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._room)


async def end_all(app: web.Application) -> None:
    """At shutdown, when aiohttp does not know of them: close the streams there are, and wait for their last bytes."""
    loop, gateway = asyncio.get_running_loop(), app[GATEWAY]
    for connection in gateway.relays.streams():
        connection.close(CloseReason.DRAINING)
    until = loop.time() + LAST_BYTES
    while (left := _carried(gateway)) and loop.time() < until:
        await asyncio.sleep(LOOK_AGAIN)
    for carrier in left:
        carrier.abort()


def _carried(gateway: Gateway) -> list[Carrier]:
    guides = [*gateway.ending, *(connection.guide for connection in gateway.relays.streams())]
    return [guide for guide in guides if isinstance(guide, Carrier)]
