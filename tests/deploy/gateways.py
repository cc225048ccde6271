"""What stands behind nginx in its tests: a stand-in that only notes and says, and a fleet that comes through nginx."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from chaos.fleet import Client, Fleet
from chaos.stage import Stage
from nginx import NginxServer
from servers import HOST


class StandIn:
    """Answers every request with a stream that has no headers of the gateway's, and says what it is told to.

    So whatever nginx does right before it, nginx was configured to do.
    """

    def __init__(self) -> None:
        self.requests: list[web.Request] = []
        self._streams: list[web.StreamResponse] = []
        self._end = asyncio.Event()

    async def say(self, text: bytes) -> None:
        for stream in self._streams:
            await stream.write(text)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        self._streams.append(response)
        await self._end.wait()
        return response

    @asynccontextmanager
    async def listening(self, port: int) -> AsyncIterator[None]:
        app = web.Application()
        app.add_routes([web.get("/{path:.*}", self.answer)])
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, HOST, port, reuse_address=True).start()
        try:
            yield
        finally:
            self._end.set()
            await runner.cleanup()


def fleet_through(nginx: NginxServer, s: Stage, users: int) -> Fleet:
    """So many users, each with a stream by way of nginx. `s.verdict` judges them, as long as they are connected."""
    for number in range(users):
        # nginx keeps a connection whose stream has ended, and this client knows an end only by the connection's.
        token = s.token(f"u{number}") + "\r\nConnection: close"
        s.listens[len(s.clients)] = (f"user:u{number}", "broadcast")
        s.clients.append(Client(lambda: nginx.url, "/v1/events", token))
    return Fleet(list(s.clients))
