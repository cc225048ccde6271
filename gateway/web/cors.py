"""Which web pages may read answers: those of GATEWAY_CORS_ORIGINS, compared as they are written, and no others.

Rule: every answer to such a page carries the grant, errors too, or the page could not read why; an EventSource whose
CORS check fails gives up for good. Any other origin gets what there is without CORS: an answer it cannot read.
Own code: the library for it (aiohttp-cors) works by route, and an answer of no route (a 404, a 405) has none.
Source: the Fetch standard, section 3.3 (https://fetch.spec.whatwg.org/#http-cors-protocol).
"""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web
from aiohttp.typedefs import Handler

REQUEST_HEADERS = "Authorization, Cache-Control, Content-Type, Idempotency-Key, Last-Event-ID"
RESPONSE_HEADERS = "Heartbeat-Interval, RateLimit, RateLimit-Policy, Retry-After"
PREFLIGHT_SECONDS = 7200
"""Chromium keeps it no longer. An origin that was taken off the list is refused at once all the same: by the answer."""


class Cors:
    """`origins` as in the settings: exact ones, which may send cookies, or `*` alone, without."""

    def __init__(self, origins: tuple[str, ...]) -> None:
        self._any = origins == ("*",)
        self._origins = frozenset(origins)

    async def grant(self, request: web.Request, response: web.StreamResponse) -> None:
        """A handler of `on_response_prepare`."""
        response.headers.update(self._granted(request))
        if not self._any:  # what is cached for one origin, or for none, must not be given to another
            response.headers.add("Vary", "Origin")

    @web.middleware
    async def preflight(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer the question whether a page may ask, where there is something to ask; a plain OPTIONS is a 405."""
        refusal = request.match_info.http_exception
        if (
            request.method != "OPTIONS"
            or "Access-Control-Request-Method" not in request.headers
            or not isinstance(refusal, web.HTTPMethodNotAllowed)
            or not self._granted(request)
        ):
            return await handler(request)
        headers = {
            "Access-Control-Allow-Methods": ", ".join(sorted(refusal.allowed_methods)),
            "Access-Control-Allow-Headers": REQUEST_HEADERS,
            "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
        }
        return web.Response(status=204, headers=headers)

    def _granted(self, request: web.Request) -> Mapping[str, str]:
        origin = request.headers.get("Origin")
        if origin is None or not (self._any or origin in self._origins):
            return {}
        granted = {
            "Access-Control-Allow-Origin": "*" if self._any else origin,
            "Access-Control-Expose-Headers": RESPONSE_HEADERS,
        }
        return granted if self._any else granted | {"Access-Control-Allow-Credentials": "true"}
