"""However a path is spelled, the public port and nginx lead to nothing but what is public."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from nginx import NginxServer, needs_nginx
from servers import HOST, free_port
from web.inprocess import Served, nothing_published, served

EVENT = b'{"event_type": "x", "user_id": "alice", "data": 1}'

TARGETS = ["/v1/broadcast", "/v1/users/alice/events", "/v1/topics/a/events", "/metrics", "/openapi.json", "/console",
           "/console/api/settings", "/v1/users/alice/presence", "/v1/users/alice/connections", "/docs"]  # fmt: skip
SPELLINGS = [
    "{path}", "/{path}", "//g{path}", "{path}/", "{path}//", "{path}?x", "{path}%3Fx", "{path}%00", "{path}%0d%0a",
    "{path};x", "{path}%20", "/.{path}", "/./.{path}", "/x/..{path}", "/v1/events/../..{path}",
    "/v1/events/..%2f..{path}",
    "/v1/events%2f..%2f..{path}", "/v1/events/%2e%2e/%2e%2e{path}", "/v1/events/..;/..{path}", "/livez/..{path}",
    "/livez%2f..{path}", "\\{path}", "/%5c..{path}", "http://g{path}", "http://evil{path}", "http://g:1@g{path}",
]  # fmt: skip
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"]


def spelled() -> list[str]:
    plain = [spelling.format(path=path) for path in TARGETS for spelling in SPELLINGS]
    encoded = [path.replace("/", "%2f").replace("%2f", "/", 1) for path in TARGETS]
    doubled = [path.replace("/", "//") for path in TARGETS]
    upper = [path.upper() for path in TARGETS]
    letters = ["".join(f"%{ord(letter):02x}" if letter != "/" else letter for letter in path) for path in TARGETS]
    return [*plain, *encoded, *doubled, *upper, *letters]


async def statuses(port: int, requests: list[bytes]) -> list[int]:
    """Of one request after the other, each on a connection of its own; 0 for one that was closed without an answer."""
    found = []
    for request in requests:
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(request)
        answer = b""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(10):
                answer = await reader.read(4096)
        writer.close()
        found.append(int(answer[9:12] or b"0"))
        assert b"gateway_connections" not in answer
        assert b"GATEWAY_" not in answer
    return found


@pytest_asyncio.fixture
async def gateway() -> AsyncIterator[Served]:
    """With two ports, in development mode: whatever reaches a publisher's path is taken."""
    async with served(internal_port=free_port()) as running:
        yield running


def requests(method: str) -> list[bytes]:
    head = f"Host: g\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {len(EVENT)}\r\n\r\n"
    return [f"{method} {path} HTTP/1.1\r\n{head}".encode() + EVENT for path in spelled()]


@pytest.mark.parametrize("method", METHODS)
async def test_the_public_port(gateway: Served, method: str) -> None:
    """Nothing is there, whatever the method: 404, or no HTTP at all. Nothing is published."""
    async with nothing_published(gateway):
        found = dict(zip(spelled(), await statuses(gateway.port, requests(method)), strict=True))
    assert {path: status for path, status in found.items() if status not in (400, 404)} == {}


@needs_nginx
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_through_nginx(method: str) -> None:
    """The same where the gateway has one port, and nginx before it decides what is public."""
    async with served() as gateway, NginxServer(gateway.port) as nginx, nothing_published(gateway):
        found = dict(zip(spelled(), await statuses(nginx.port, requests(method)), strict=True))
    assert {path: status for path, status in found.items() if status not in (400, 403, 404, 405)} == {}
