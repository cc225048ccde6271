"""Which web pages may read answers: those of GATEWAY_CORS_ORIGINS, compared as they are written, and no others.

Rule: every answer to such a page carries the grant, errors too, or the page could not read why; an EventSource whose
CORS check fails gives up for good. Any other origin gets what there is without CORS: an answer it cannot read.
Own code: the library for it (aiohttp-cors) works by route, and an answer of no route (a 404, a 405) has none.
Source: the Fetch standard, section 3.3 (https://fetch.spec.whatwg.org/#http-cors-protocol).
"""

from __future__ import annotations

from collections.abc import Mapping

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from ..errors import NotAllowed

REQUEST_HEADERS = "Authorization, Cache-Control, Content-Type, Idempotency-Key, Last-Event-ID, X-Request-Id"
RESPONSE_HEADERS = "Heartbeat-Interval, RateLimit, RateLimit-Policy, Retry-After, X-Request-Id"
PREFLIGHT_SECONDS = 7200
"""Chromium keeps it no longer. An origin that was taken off the list is refused at once all the same: by the answer."""
MOST_STRANGERS = 100
"""Origins that have a line in the log, in the life of a process."""
LONGEST_SHOWN = 200

log = structlog.get_logger(__name__)


class Cors:
    """`origins` as in the settings: none, exact ones, which may send cookies, or `*` alone, without."""

    def __init__(self, origins: tuple[str, ...]) -> None:
        self._any = origins == ("*",)
        self._origins = frozenset(origins)
        self._strangers: set[str] = set()

    async def grant(self, request: web.Request, response: web.StreamResponse) -> None:
        """A handler of `on_response_prepare`."""
        response.headers.update(self._granted(request))
        self._note(request)
        if self._origins and not self._any:  # what is cached for one origin, or for none, is not to be given to another
            response.headers.add("Vary", "Origin")

    @web.middleware
    async def preflight(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer the question whether a page may ask, where there is something to ask; a plain OPTIONS is a 405."""
        refusal = request.match_info.http_exception
        if not _is_preflight(request, refusal) or not self._granted(request):
            return await handler(request)
        assert isinstance(refusal, web.HTTPMethodNotAllowed)
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

    def _note(self, request: web.Request) -> None:
        """A line for each origin whose pages cannot read what they are answered: in the page there is none to see."""
        if "Origin" not in request.headers or self._granted(request):
            return
        origin = _origin(request)
        known = origin.partition("://")[2] == request.host or origin in self._strangers
        if not known and len(self._strangers) < MOST_STRANGERS:
            self._strangers.add(origin)
            log.warning("cors.not_granted", origin=origin, setting="GATEWAY_CORS_ORIGINS")


def refused(request: web.Request, error: web.HTTPException) -> NotAllowed | None:
    """What to say to a preflight that nobody answered; None for what is none."""
    if not _is_preflight(request, error):
        return None
    return NotAllowed(f"pages of {_origin(request)} may not ask here: GATEWAY_CORS_ORIGINS names those that may")


def _is_preflight(request: web.Request, refusal: web.HTTPException | None) -> bool:
    """Whether it asks for a page whether that may ask, where there is something to ask."""
    return (
        request.method == "OPTIONS"
        and isinstance(refusal, web.HTTPMethodNotAllowed)
        and "Origin" in request.headers
        and "Access-Control-Request-Method" in request.headers
    )


def _origin(request: web.Request) -> str:
    return request.headers["Origin"][:LONGEST_SHOWN]
