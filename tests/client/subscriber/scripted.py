"""A server that answers each request for a stream in turn as it is told to, and remembers what it was asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from aiohttp import web
from servers import HOST

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Scripted:
    """When its answers are used up it gives the last one again."""

    def __init__(self, *answers: Answer) -> None:
        self.requests: list[web.Request] = []
        self.url = ""
        self._answers = list(answers)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        return await (self._answers.pop(0) if len(self._answers) > 1 else self._answers[0])(request)

    @property
    def cursors(self) -> list[str | None]:
        return [request.headers.get("Last-Event-ID") for request in self.requests]

    @property
    def tokens(self) -> list[str]:
        return [request.headers.get("Authorization", "").removeprefix("Bearer ") for request in self.requests]


@asynccontextmanager
async def scripted(*answers: Answer) -> AsyncIterator[Scripted]:
    server = Scripted(*answers)
    app = web.Application()
    app.router.add_get("/{path:.*}", server.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, HOST, 0)
    await site.start()
    assert site._server is not None
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    server.url = f"http://{HOST}:{port}"
    try:
        yield server
    finally:
        await runner.cleanup()


def stream(*pieces: str, ends: bool = True, cut: bool = False) -> Answer:
    """An event stream of these pieces, that ends, is cut, or stays."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece.encode())
        if cut:
            assert request.transport is not None
            await asyncio.sleep(0.05)  # what was written is to be read before
            request.transport.abort()
        elif not ends:
            await asyncio.Event().wait()
        return response

    return answer


def refusal(status: int, detail: str = "", headers: Mapping[str, str] | None = None) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        body = json.dumps({"title": "No", "detail": detail})
        kind = "application/problem+json"
        return web.Response(status=status, text=body, content_type=kind, headers=headers)

    return answer


def page(status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text="<h1>secret", content_type="text/html", headers=headers)

    return answer


RETRY = "retry: 10\n\n"


def position(number: int) -> str:
    """The beginning of a gateway's stream."""
    return f"{RETRY}id: {number}-0\n\n"


def event(number: int) -> str:
    return f"id: {number}-0\nevent: x\ndata: {number}\n\n"
