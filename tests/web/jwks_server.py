"""An issuer's JWK Set over HTTP, well or badly served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
HOST = "127.0.0.1"


class Issuer:
    """`answer` is what a fetch gets; `fetches` counts them, also those of paths that nobody should ask for."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.fetches = 0
        self.elsewhere = 0
        self.answer: Answer = self.nothing

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/jwks.json"

    async def nothing(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=503)

    def publish(self, *keys: dict[str, Any]) -> None:
        async def answer(request: web.Request) -> web.StreamResponse:
            return web.json_response({"keys": keys})

        self.answer = answer

    async def _asked(self, request: web.Request) -> web.StreamResponse:
        self.fetches += 1
        return await self.answer(request)

    async def _asked_elsewhere(self, request: web.Request) -> web.StreamResponse:
        self.elsewhere += 1
        return await self.answer(request)


@asynccontextmanager
async def issuer(*keys: dict[str, Any], port: int = 0) -> AsyncIterator[Issuer]:
    one = Issuer(port)
    if keys:
        one.publish(*keys)
    app = web.Application()
    app.router.add_get("/jwks.json", one._asked)
    app.router.add_get("/{path:.*}", one._asked_elsewhere)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, port).start()
        one.port = runner.addresses[0][1]
        yield one
    finally:
        await runner.cleanup()


async def redirect(request: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("/elsewhere.json")


async def huge(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" " * 65_536)


async def slow(request: web.Request) -> web.StreamResponse:
    """A byte now and then, without end."""
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.02)


async def hung(request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def cut(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"keys": [')
    assert request.transport is not None
    request.transport.abort()
    return response


async def garbage(request: web.Request) -> web.StreamResponse:
    return web.Response(body=b"\x1f\x8b garbage", headers={"Content-Encoding": "gzip"})


async def page(request: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>maintenance</html>", content_type="text/html")


async def error(request: web.Request) -> web.StreamResponse:
    return web.json_response({"keys": []}, status=500)
