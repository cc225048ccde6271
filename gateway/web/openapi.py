"""`GET /openapi.json`: the HTTP interface for machines, a file written by hand that tests hold the routes to."""

from __future__ import annotations

from importlib import resources

from aiohttp import web

DOCUMENT = (resources.files(__package__) / "openapi.json").read_bytes()


def routes() -> list[web.RouteDef]:
    return [web.get("/openapi.json", openapi)]


async def openapi(request: web.Request) -> web.Response:
    return web.Response(body=DOCUMENT, content_type="application/json")
