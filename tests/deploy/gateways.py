"""What stands around a proxy in its tests: a stand-in that only notes and says, a fleet, and those who ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web
from chaos.fleet import Client, Fleet
from chaos.stage import Stage
from nginx import NginxServer
from servers import HOST

PROMPT = 2.0
"""Seconds; the heartbeat, which would push out what a proxy holds back, comes after 15."""


class StandIn:
    """Answers every request with a stream that has no headers of the gateway's, and says what it is told to.

    So whatever nginx does right before it, nginx was configured to do. Without `streams` it refuses everybody.
    """

    def __init__(self, *, streams: bool = True) -> None:
        self.streams = streams
        self.requests: list[web.Request] = []
        self._peers: set[object] = set()
        self._streams: list[web.StreamResponse] = []
        self._end = asyncio.Event()

    async def say(self, text: bytes) -> None:
        for stream in self._streams:
            await stream.write(text)

    @property
    def connections(self) -> int:
        """Over how many connections requests have come."""
        return len(self._peers)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        assert request.transport is not None
        self._peers.add(request.transport.get_extra_info("peername"))
        if not self.streams:
            return web.Response(status=401)
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


async def asked(url: str, **headers: str) -> tuple[int, Mapping[str, str], str]:
    """The whole answer to a request for a stream: only one that ends by itself can be asked for."""
    async with aiohttp.ClientSession() as http, http.get(f"{url}/v1/events?user=alice", headers=headers) as response:
        async with asyncio.timeout(2 * PROMPT):
            return response.status, response.headers, await response.text()


async def status_of(port: int, method: str, path: str) -> int:
    """Of a request from outside, its path sent exactly as it is spelled; a POST has an event as its body."""
    reader, writer = await asyncio.open_connection(HOST, port)
    body = '{"event_type": "x", "data": 1, "user_id": "alice"}' if method == "POST" else ""
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
    async with asyncio.timeout(PROMPT):
        answer = await reader.read()
    writer.close()
    return int(answer[9:12])
