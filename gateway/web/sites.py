"""What is served where: an application for each port, over one `Gateway`.

Without GATEWAY_INTERNAL_PORT there is one port, with everything. With it, the public port has what subscribers and
probes need, and answers to all else as if there were no such thing; the internal port has everything.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from aiohttp import web

from .. import fair
from . import asyncapi, console, docs, headers, health, javascript, openapi, publish, siblings, stream, tickets, users
from .arrivals import Lobby
from .context import GATEWAY, Gateway
from .cors import Cors
from .problems import problems
from .rebinding import refuse_owned_names

BACKLOG = 4096
ACCEPTS_PER_TURN = 4
"""Of a storm of newcomers: each turn of the loop brings so many of them one step forward, and live events wait for
about ten turns on their way. asyncio would take the whole backlog in one."""
AIOHTTP_SHUTDOWN = 0.5
"""aiohttp waits twice this for handlers; by then the streams have ended by themselves."""

Bind = Callable[[int], socket.socket]
"""A bound socket for a port of GATEWAY_HOST, not listening yet."""


def public_routes() -> list[web.RouteDef]:
    """For subscribers, who are anywhere."""
    return [*stream.routes(), *tickets.routes(), *javascript.routes(), *health.routes()]


def internal_routes() -> list[web.RouteDef]:
    """For publishers and operators."""
    described = [*openapi.routes(), *asyncapi.routes(), *docs.routes()]
    return [*publish.routes(), *users.routes(), *health.operators_routes(), *described]


def application(gateway: Gateway, routes: Iterable[web.RouteDef]) -> web.Application:
    """What one port serves."""
    settings = gateway.settings
    app = web.Application(middlewares=[problems], client_max_size=settings.max_body_bytes)
    app[GATEWAY] = gateway
    app.add_routes(routes)
    app.on_response_prepare.append(headers.dress)
    if settings.dev:
        app.middlewares.append(refuse_owned_names)
    cors = Cors(settings.cors_origins)
    app.on_response_prepare.append(cors.grant)
    if settings.cors_origins:
        app.middlewares.insert(0, cors.preflight)
    return app


def applications(gateway: Gateway) -> tuple[web.Application, web.Application | None]:
    """The application of GATEWAY_PORT, and that of GATEWAY_INTERNAL_PORT if there is one."""
    everything = [*public_routes(), *internal_routes(), *(console.routes() if gateway.has_console else ())]
    if gateway.settings.internal_port is None:
        return application(gateway, everything), None
    public = application(gateway, public_routes())
    public[health.OUTSIDE] = True
    return public, application(gateway, everything)


@asynccontextmanager
async def serving(app: web.Application, listener: socket.socket) -> AsyncIterator[None]:
    """Start the application, then accept on `listener`; at the end no longer accept, then take the application down."""
    gateway = app[GATEWAY]
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=AIOHTTP_SHUTDOWN)
    await runner.setup()
    try:
        assert runner.server is not None
        lobby = Lobby(runner.server, gateway.settings, gateway.metrics)
        loop = asyncio.get_running_loop()
        _drop_who_takes_nothing(listener, gateway.settings.send_timeout)
        server = await loop.create_server(lobby, sock=listener, backlog=ACCEPTS_PER_TURN)
        fair.put_last(listener)
        listener.listen(BACKLOG)  # asyncio asked for as many as it accepts in a turn
        try:
            yield
        finally:
            server.close()
            lobby.close()
    finally:
        await runner.cleanup()


def _drop_who_takes_nothing(listener: socket.socket, seconds: float) -> None:
    """A client that asks and never reads its answers would be waited for without end; accepted sockets inherit it."""
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))


def opened(internal: web.Application, bind: Bind) -> Callable[[web.Application], AsyncIterator[None]]:
    """For `cleanup_ctx` of the public application: the internal port is open for as long as that runs."""

    async def running(_: web.Application) -> AsyncIterator[None]:
        port = internal[GATEWAY].settings.internal_port
        assert port is not None
        with bind(port) as listener:
            async with serving(internal, listener):
                yield

    return running


async def telling_the_others(app: web.Application) -> AsyncIterator[None]:
    """For `cleanup_ctx`: readiness and metrics of this worker alone, for the other workers to ask."""
    gateway = app[GATEWAY]
    assert gateway.place is not None
    runner = web.AppRunner(siblings.application(gateway, health.routes_alone()), access_log=None)
    await runner.setup()
    await web.UnixSite(runner, gateway.place.socket_of(gateway.place.number)).start()
    yield
    await runner.cleanup()
