"""A gateway inside the test's own process, served as in production: by `sites.serving`, which cancels handlers.

aiohttp's test server forces handler cancellation on and would hide a stream that is never deregistered.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web
from servers import HOST, until
from streams import Stream

from gateway.app import build
from gateway.config import Settings
from gateway.hub import CloseReason
from gateway.ids import EventId
from gateway.web import sites
from gateway.web.context import GATEWAY, Gateway
from gateway.workers import bound

SECRET = "a-secret-of-the-tests-that-is-long-enough-for-each-of-the-three-hmacs"
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class Served:
    """`http` is a session whose base is the gateway: `served.http.get("/livez")`."""

    app: web.Application
    gateway: Gateway
    http: aiohttp.ClientSession
    port: int

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    async def publish(self, user: str, event_type: str = "x", data: object = None, **fields: object) -> str:
        """Publish in development mode; the event's id."""
        body = {"event_type": event_type, "data": data, **fields}
        async with self.http.post(f"/v1/users/{user}/events", json=body) as response:
            assert response.status == 202, await response.text()
            return str((await response.json())["id"])

    @asynccontextmanager
    async def wire(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A bare connection, for requests that no client library would send."""
        reader, writer = await asyncio.open_connection(HOST, self.port)
        try:
            async with asyncio.timeout(10):
                yield reader, writer
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


@asynccontextmanager
async def served(**settings: Any) -> AsyncIterator[Served]:
    """In development mode unless a way to authenticate is given."""
    dev = not {"jwt_secret", "publish_keys"} & settings.keys()
    given: dict[str, Any] = {"dev": dev, "port": 0, "linger_seconds": 0.05} | settings
    app = build(Settings(**given))
    gateway = app[GATEWAY]
    with bound(gateway.settings, 0) as listener:
        async with sites.serving(app, listener):
            port = listener.getsockname()[1]
            connector = aiohttp.TCPConnector(limit=0)
            try:
                async with aiohttp.ClientSession(f"http://{HOST}:{port}", connector=connector) as http:
                    yield Served(app, gateway, http, port)
            finally:
                for connection in gateway.relays.streams():
                    connection.close(CloseReason.DRAINING)


def token(claims: Mapping[str, object], *, secret: str = SECRET, header: object = None) -> str:
    """A JWT signed with HMAC SHA-256, made without the library that verifies it; any header can be claimed."""
    head = {"typ": "JWT", "alg": "HS256"} if header is None else header
    signed = f"{_part(json.dumps(head).encode())}.{_part(json.dumps(claims).encode())}"
    return f"{signed}.{_part(hmac.digest(secret.encode(), signed.encode(), hashlib.sha256))}"


def claims(user: str = "alice", *, seconds: float = 60, **more: object) -> dict[str, object]:
    return {"sub": user, "exp": time.time() + seconds, **more}


def bearer(credential: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential}"}


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


# What tests ask of a gateway


async def post(
    served: Served, body: Any, path: str = "/v1/users/alice/events", headers: dict[str, str] | None = None
) -> tuple[int, Any]:
    """The status and the decoded body of an answer. `body` is sent as it is when it is bytes, else as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with served.http.post(path, data=data, headers=JSON | (headers or {})) as response:
        kind = "application/json" if response.status == 202 else "application/problem+json"
        assert response.content_type == kind, await response.text()
        return response.status, await response.json(content_type=kind)


@asynccontextmanager
async def nothing_published(served: Served) -> AsyncIterator[None]:
    before = await served.gateway.relay.broker.tip()
    yield
    assert await served.gateway.relay.broker.tip() == before


async def kept(served: Served, channel: str = "user:alice") -> list[tuple[str, Any]]:
    """The history of a channel: event types and decoded data."""
    page = await served.gateway.relay.broker.read([channel], EventId(0, 0), 10_000)
    return [(entry.event_type, json.loads(entry.data)) for entry in page.entries]


async def refusal(served: Served, query: str, **headers: str) -> tuple[int, dict[str, Any]]:
    """The status and the problem that a stream request is refused with."""
    async with served.http.get(f"/v1/events?{query}", headers=headers) as response:
        assert response.content_type == "application/problem+json"
        return response.status, await response.json()


async def last_arrived(served: Served, stream: Stream, user: str = "alice") -> None:
    """Publish one more event and take it away again: whatever was on its way before has arrived then."""
    id = await served.publish(user, "last")
    await until(lambda: any(event.last_event_id == id for event in stream.events), what="the last event arrives")
    assert stream.events.pop().type == "last"


def closed_because(served: Served, reason: str) -> float | None:
    return served.gateway.metrics.registry.get_sample_value("gateway_connections_closed_total", {"reason": reason})


def refused_because(served: Served, reason: str) -> float | None:
    return served.gateway.metrics.registry.get_sample_value("gateway_connections_refused_total", {"reason": reason})
