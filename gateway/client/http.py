"""To the gateway's HTTP API (docs: "HTTP, publishers").

202 is the only success: anything else that answers 2xx or 3xx is a proxy or a login page, not a gateway.
"""

from __future__ import annotations

import os

import aiohttp
from yarl import URL

from ..channels import BROADCAST
from ..errors import (
    BrokerUnavailable,
    Conflict,
    GatewayError,
    InvalidRequest,
    NotAllowed,
    NotAuthenticated,
    RateLimited,
    TooLarge,
    UnsupportedType,
)
from ..events import SSEEvent
from . import address, answers
from .address import unreachable
from .perloop import PerLoop

_ANSWERS: tuple[type[GatewayError], ...] = (
    InvalidRequest,
    NotAuthenticated,
    NotAllowed,
    Conflict,
    TooLarge,
    UnsupportedType,
    RateLimited,
)
_BY_STATUS = {error.status: error for error in _ANSWERS}
_REQUEST_TIMEOUT = 408


class HttpTransport:
    """Publishes through `base`, the gateway's address, which may have a path. `ValueError` for a bad one."""

    def __init__(self, base: str, key: str | None = None) -> None:
        self._base = address.base(base)
        self._headers = {"Content-Type": "application/json"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._sessions = PerLoop(_session, aiohttp.ClientSession.close)

    async def send(self, channel: str, event: SSEEvent, idempotency_key: str) -> None:
        url = URL(self._base + _path(channel), encoded=True)
        headers = self._headers | {"Idempotency-Key": idempotency_key}
        session = await self._sessions.get()
        try:
            body = event.to_envelope()
            response = await session.post(url, data=body, headers=headers, allow_redirects=False)
            try:
                answer = await _start_of(response)
            finally:
                response.release()  # not `async with`, which would first wait for a body that nobody reads
        except (aiohttp.ClientError, OSError) as error:
            raise BrokerUnavailable(in_words(error), retry_after=None) from None
        if response.status != 202:
            raise _refusal(response, answer)

    async def close(self) -> None:
        await self._sessions.close()


def _session() -> aiohttp.ClientSession:
    # Time is the caller's to limit. Cookies would tie a publisher to one pod behind a balancer.
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(), cookie_jar=aiohttp.DummyCookieJar())


def _path(channel: str) -> str:
    if channel == BROADCAST:
        return "/v1/broadcast"
    kind, _, name = channel.partition(":")
    if name in (".", ".."):  # a proxy on the way takes these for steps through the path (RFC 3986, 5.2.4)
        raise InvalidRequest(f"a {kind} called {name!r} cannot be named in a URL")
    return f"/v1/{kind}s/{name}/events"


async def _start_of(response: aiohttp.ClientResponse) -> bytes:
    """The body, which leaves the connection ready for the next request; of a very long one the start."""
    body = b""
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > answers.MAX_BYTES:
            break
    return body


def _refusal(response: aiohttp.ClientResponse, body: bytes) -> GatewayError:
    status, said = response.status, answers.problem(response.headers.get("Content-Type"), body)
    detail = said.detail or said.title
    retry_after = answers.retry_after(response.headers.get("Retry-After"))
    if status >= 500 or status == _REQUEST_TIMEOUT:
        return BrokerUnavailable(detail or f"HTTP {status}", retry_after=retry_after)
    if status in _BY_STATUS:
        return _BY_STATUS[status](detail or f"HTTP {status}", retry_after=retry_after)
    return InvalidRequest(f"HTTP {status}, not 202: is GATEWAY_PUBLISHER_URL the gateway's address?")


def in_words(error: BaseException) -> str:
    """Why there was no answer, in a few words, and without the URL, which may name a user."""
    match error:
        case aiohttp.ClientConnectorError():
            return unreachable(error.os_error)
        case aiohttp.ServerDisconnectedError():
            return "the connection was closed without an answer"
        case aiohttp.ClientPayloadError():
            return "the connection was cut"
        case aiohttp.ClientResponseError():
            return "what answers there does not speak HTTP"
        case OSError() if error.errno is not None and error.errno > 0:
            return os.strerror(error.errno)
    return " ".join((str(error) or type(error).__name__).split())[: answers.MAX_TEXT]
