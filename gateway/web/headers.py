"""What every answer carries besides its own headers, whoever made it; a handler that says otherwise is left alone.

Rule: an answer of this API is data for one caller. It is never kept, never guessed to be another type, never framed,
never read by a page of another origin unless CORS lets it, and does not say which versions it was made by. (HSTS is
for whoever terminates TLS; X-Frame-Options and X-XSS-Protection say nothing that the policy here does not.)
"""

from __future__ import annotations

from aiohttp import web

from . import request_ids

SERVER = "event-gateway"

ALWAYS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    # An address may hold a ticket, and a page opened from here need not know it.
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    # For requests without CORS (an <img>, a no-cors fetch): their answers never get into another site's process.
    "Cross-Origin-Resource-Policy": "same-origin",
}


async def dress(request: web.Request, response: web.StreamResponse) -> None:
    """A handler of `on_response_prepare`."""
    put_on(response)
    response.headers[request_ids.HEADER] = request_ids.of(request)


def put_on(response: web.StreamResponse) -> None:
    headers = response.headers
    headers["Server"] = SERVER  # aiohttp has put its own there, with its version and Python's
    for name, value in ALWAYS.items():
        headers.setdefault(name, value)
