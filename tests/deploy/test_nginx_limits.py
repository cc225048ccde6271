"""What one client address may take of nginx, and how those fare that are over it."""

from __future__ import annotations

import re

import aiohttp
from nginx import UNCOUNTED, NginxServer, needs_nginx
from servers import until
from streams import Stream
from web.inprocess import Served, served

OTHER_ADDRESS = "127.0.0.2"
FEW_STREAMS = {"limit_conn gateway_streams 200;": "limit_conn gateway_streams 2;"}
FEW_ARRIVALS = {"rate=20r/s;": "rate=1r/m;", "burst=200 nodelay;": "burst=2 nodelay;"}

pytestmark = needs_nginx


async def asked(nginx: NginxServer, *, address: str = "127.0.0.1") -> str:
    """What a client from that address gets who asks for a stream: one of the gateway, or one that ends."""
    connector = aiohttp.TCPConnector(local_addr=(address, 0))
    async with (
        aiohttp.ClientSession(connector=connector) as http,
        http.get(f"{nginx.url}/v1/events?user=alice") as response,
    ):
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/event-stream"
        if "X-Accel-Buffering" in response.headers:
            return "a stream"
        assert re.fullmatch(r"retry: \d+\n\n", await response.text())
        return "retry"


async def test_streams_of_an_address_are_limited() -> None:
    """One more is told to come again, as EventSource can read it; other addresses do not notice; an end makes room."""
    async with served() as gateway, NginxServer(gateway.port, replace=FEW_STREAMS) as nginx:
        async with Stream(nginx.url, "user=alice"):
            async with Stream(nginx.url, "user=alice"):
                assert await asked(nginx) == "retry"
                assert streams(gateway) == 2
                assert await asked(nginx, address=OTHER_ADDRESS) == "a stream"
            await until(lambda: streams(gateway) == 1)
            async with Stream(nginx.url, "user=alice") as again:
                await again.position()
        assert "limiting connections by zone" in nginx.log


async def test_new_streams_of_an_address_are_limited() -> None:
    """Of a flood the burst comes through; the rest is told to come again, and costs the gateway nothing."""
    async with served() as gateway, NginxServer(gateway.port, replace=FEW_ARRIVALS) as nginx:
        answers = [await asked(nginx) for _ in range(6)]
        assert answers == ["a stream"] * 3 + ["retry"] * 3
        assert await asked(nginx, address=OTHER_ADDRESS) == "a stream"
        assert "limiting requests" in nginx.log


async def test_tickets_count_as_well() -> None:
    """A flood of them is answered 503, which a fetch can read."""
    async with served() as gateway, NginxServer(gateway.port, replace=FEW_ARRIVALS) as nginx:
        async with aiohttp.ClientSession(nginx.url) as http:
            statuses = []
            for _ in range(6):
                async with http.post("/v1/tickets?user=alice") as response:
                    statuses.append(response.status)
        assert statuses == [201] * 3 + [503] * 3


async def test_an_address_may_be_left_uncounted() -> None:
    """One that stands for many has no limits."""
    replace = FEW_STREAMS | FEW_ARRIVALS | UNCOUNTED
    async with served() as gateway, NginxServer(gateway.port, replace=replace) as nginx:
        for _ in range(6):
            assert await asked(nginx) == "a stream"


def streams(gateway: Served) -> int:
    return len(gateway.gateway.hub.connections)
