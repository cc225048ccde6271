"""The shipped nginx site as seen by those who should not get in."""

from __future__ import annotations

import asyncio

import pytest
from deploy.gateways import status_of
from nginx import NginxServer, needs_nginx
from servers import HOST, until
from web.inprocess import Served, nothing_published

pytestmark = needs_nginx


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/events", 403),
        ("PUT", "/v1/events", 403),
        ("DELETE", "/v1/events", 403),
        ("POST", "/v1/users/alice/events", 404),
        ("POST", "/v1/broadcast", 404),
        ("POST", "/v1/topics/orders/events", 404),
        ("GET", "/v1/users/alice/presence", 404),
        ("DELETE", "/v1/users/alice/connections", 404),
        ("GET", "/metrics", 404),
        ("GET", "/readyz", 404),
        ("GET", "/livez", 404),
        ("GET", "/console", 404),
        ("POST", "/v1/events/", 404),
        ("GET", "/v1/tickets", 403),
        ("GET", "/openapi.json", 404),
        ("GET", "/v1/../metrics", 404),
        ("GET", "/v1/events%2f..%2f..%2fmetrics", 404),
    ],
)
async def test_only_the_streams_are_open(
    gateway: Served, nginx: NginxServer, method: str, path: str, status: int
) -> None:
    """Publishing and what operators ask for do not exist from outside, whoever asks and however it is spelled."""
    async with nothing_published(gateway):
        assert await status_of(nginx.port, method, path) == status


async def test_a_head_that_does_not_end_is_not_waited_for(gateway: Served) -> None:
    """A client that takes its time with the request's head is dropped, though it goes on sending."""
    async with NginxServer(gateway.port, replace={"client_header_timeout 10s": "client_header_timeout 1s"}) as nginx:
        reader, writer = await asyncio.open_connection(HOST, nginx.port)
        writer.write(b"GET /v1/events?user=alice HTTP/1.1\r\n")
        ended = asyncio.ensure_future(reader.read())

        async def dropped() -> bool:
            if not ended.done():
                writer.write(b"X")
            return ended.done()

        await until(dropped, within=4, what="nginx closes the connection")
        assert b"200" not in await ended
        writer.close()
