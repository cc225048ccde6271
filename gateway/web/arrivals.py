"""Connections on which no request is under way: for how long they are kept, and how many of them.

A connection is *pending* while it owes the rest of a request's head: from its first moment on, or from the first byte
of another request. Between requests it is *idle*. aiohttp gives both an hour, and a head of any size a byte at a time
(slowloris). Here each kind has a waiting room, with a time and a number of places; when there are none left, whoever
has waited longest goes. So honest clients, who send at once, get in among any number of those who don't. Streams are
in neither room: `carrier.py` has them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from aiohttp import StreamReader, web

from ..config import Settings
from ..errors import GatewayError
from ..telemetry.metrics import Metrics
from ..telemetry.sparing import Sparing
from . import unreadable
from .overload import DESCRIPTORS_BESIDES, descriptors

NEVER = 1e9
"""Seconds: aiohttp has a timer of its own for the next request."""

LOOKS = 20
"""At a room within its time: nobody stays longer by more than a twentieth."""

log = structlog.get_logger(__name__)


class WaitingRoom:
    """Those who wait, the one who has waited longest first: each for `seconds`, and so many of them at once.

    `let_go` is told whom, and why: `timeout` or `full`, the reasons in metrics.
    """

    def __init__(
        self, seconds: float, places: int, let_go: Callable[[Arrival, str], None], *, timeout: str, full: str
    ) -> None:
        self._seconds = seconds
        self._places = places
        self._let_go = let_go
        self._timeout = timeout
        self._full = full
        self._since: dict[Arrival, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._since)

    def enter(self, arrival: Arrival) -> None:
        loop = asyncio.get_running_loop()
        self._since[arrival] = loop.time()
        if len(self._since) > self._places:
            self._let_go(next(iter(self._since)), self._full)
        if self._timer is None:
            self._timer = loop.call_later(self._seconds, self._look)

    def leave(self, arrival: Arrival) -> None:
        self._since.pop(arrival, None)

    def first(self) -> Arrival | None:
        return next(iter(self._since), None)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        loop, self._timer = asyncio.get_running_loop(), None
        while self._since:
            arrival, since = next(iter(self._since.items()))
            if (due := since + self._seconds) > loop.time():
                self._timer = loop.call_at(max(due, loop.time() + self._seconds / LOOKS), self._look)
                return
            self._let_go(arrival, self._timeout)


class Lobby:
    """The waiting rooms of a port, and what makes its connections: a protocol factory, for `create_server`."""

    def __init__(self, server: web.Server, settings: Settings, metrics: Metrics) -> None:
        self.server = server
        self.settings = settings
        self.pending = WaitingRoom(
            settings.header_timeout,
            settings.max_pending_connections,
            self._let_go,
            timeout="header_timeout",
            full="max_pending_connections",
        )
        self.idle = WaitingRoom(
            settings.keepalive_timeout,
            settings.max_idle_connections,
            self._let_go,
            timeout="keepalive_timeout",
            full="max_idle_connections",
        )
        metrics.waiting += [("pending", self.pending), ("idle", self.idle)]
        self._metrics = metrics
        self._most_descriptors = descriptors() - DESCRIPTORS_BESIDES // 2
        self._sparing = Sparing()

    def __call__(self) -> Arrival:
        return Arrival(self)

    def close(self) -> None:
        self.pending.close()
        self.idle.close()

    def make_room(self, descriptor: int) -> None:
        """When descriptors run out, nobody at all could be accepted, probes neither. The least free one is given."""
        if descriptor >= self._most_descriptors:
            waiting = self.idle.first() or self.pending.first()
            if waiting is not None:
                self._let_go(waiting, "descriptors")

    def _let_go(self, arrival: Arrival, reason: str) -> None:
        slow = reason == "header_timeout" and arrival.has_begun
        self.end(arrival, reason, unreadable.too_slow(self.settings) if slow else None)

    def end(self, arrival: Arrival, reason: str, error: GatewayError | None) -> None:
        """Let the connection go, with an answer if there is an error to tell."""
        self._metrics.dropped.labels(reason).inc()
        if reason != "keepalive_timeout" and (left_out := self._sparing.left_out()) is not None:
            log.warning("connection.dropped", reason=reason, peer=arrival.peer, left_out=left_out)
        arrival.end(error)


class Arrival(web.RequestHandler):
    """aiohttp's protocol for a connection, and where it waits."""

    __slots__ = ("_answered", "_body", "_head", "_lobby", "_room")

    def __init__(self, lobby: Lobby) -> None:
        settings = lobby.settings
        super().__init__(
            lobby.server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=NEVER,
            access_log=None,  # type: ignore[arg-type]
            max_line_size=settings.max_url_bytes,
            max_field_size=settings.max_header_bytes,
            max_headers=settings.max_headers,
        )
        self._lobby = lobby
        self._room: WaitingRoom | None = None
        self._answered = 0
        self._body: StreamReader | None = None  # of the last request, where it was answered before it had come
        self._head = 0  # bytes of one that is not whole

    @property
    def has_begun(self) -> bool:
        return self._head > 0

    @property
    def peer(self) -> str:
        return str(self.peername[0]) if self.peername else ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._wait_in(self._lobby.pending)
        self._lobby.make_room(transport.get_extra_info("socket").fileno())

    def data_received(self, data: bytes) -> None:
        requests = self._request_count
        super().data_received(data)
        if self._request_count != requests:
            self._wait_in(None)
        elif data and self._answered == requests and (self._body is None or self._body.is_eof()):
            if self._room is not self._lobby.pending:
                self._wait_in(self._lobby.pending)
            self._head += len(data)
            if self._head > self._lobby.settings.max_head_bytes:
                self._lobby.end(self, "max_head_bytes", unreadable.head_too_large(self._lobby.settings))

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """aiohttp's last step with a request."""
        finished = await super().finish_response(request, resp, start_time)
        self._answered += 1
        self._body = None if request.content.is_eof() else request.content
        if self._answered == self._request_count and self.transport is not None:
            self._wait_in(self._lobby.idle)
        return finished

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """What aiohttp answers to a request that it cannot read; it writes the log line too."""
        super().handle_error(request, status, exc, message)
        return unreadable.answer(exc, self._lobby.settings)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._wait_in(None)
        super().connection_lost(exc)

    def end(self, error: GatewayError | None) -> None:
        """Close the connection; where there is an error, it is told."""
        self._wait_in(None)
        if error is not None and self.transport is not None:
            self.transport.write(unreadable.as_bytes(error))
        self.force_close()

    def _wait_in(self, room: WaitingRoom | None) -> None:
        if self._room is not None:
            self._room.leave(self)
        self._room = room
        self._head = 0
        if room is not None:
            room.enter(self)
