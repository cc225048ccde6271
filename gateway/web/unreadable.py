"""What a client is told when there is no request to answer: it cannot be read, or did not come.

Rule: which limit it ran into, or that it is no HTTP; nothing of the request itself, which may hold a token. The
connection ends with it.
"""

from __future__ import annotations

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from ..config import Settings
from ..errors import GatewayError, HeadTooLarge, InvalidRequest, TooSlow, UrlTooLong
from . import headers
from .problems import problem

TOO_MANY_HEADERS = "Too many headers received"
"""In the words of aiohttp's parser, which has no type for it."""


def answer(error: BaseException | None, settings: Settings) -> web.Response:
    """To what aiohttp's parser raised; any other error is ours."""
    response = problem(_told(error, settings))
    headers.put_on(response)
    response.force_close()
    return response


def as_bytes(error: GatewayError) -> bytes:
    """The same as it goes over the wire, for a connection that has no request yet."""
    response = problem(error)
    headers.put_on(response)
    body = response.body
    assert isinstance(body, bytes)
    lines = [f"HTTP/1.1 {response.status} {response.reason}", "Connection: close", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in response.headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def too_slow(settings: Settings) -> TooSlow:
    return TooSlow(f"its head did not arrive within {settings.header_timeout:g} s (GATEWAY_HEADER_TIMEOUT)")


def head_too_large(settings: Settings) -> HeadTooLarge:
    return HeadTooLarge(f"its head is over {settings.max_head_bytes} bytes (GATEWAY_MAX_HEAD_BYTES)")


def _told(error: BaseException | None, settings: Settings) -> GatewayError:
    if isinstance(error, LineTooLong):
        return _too_long(error, settings)
    if not isinstance(error, HttpProcessingError):
        return GatewayError("the gateway's log says more")
    if error.message == TOO_MANY_HEADERS:
        return HeadTooLarge(f"it has more than {settings.max_headers} headers (GATEWAY_MAX_HEADERS)")
    return InvalidRequest(f"it is not HTTP that can be read here ({type(error).__name__})")


def _too_long(error: LineTooLong, settings: Settings) -> GatewayError:
    """aiohttp says over which number of bytes: by that one knows which limit it was, unless they are the same."""
    url = f"the URL is over {settings.max_url_bytes} bytes (GATEWAY_MAX_URL_BYTES)"
    header = f"a header is over {settings.max_header_bytes} bytes (GATEWAY_MAX_HEADER_BYTES)"
    if settings.max_url_bytes == settings.max_header_bytes:
        return HeadTooLarge(f"{url}, or {header}")
    return UrlTooLong(url) if error.args[1] == settings.max_url_bytes else HeadTooLarge(header)
