"""A real Chromium with a real EventSource, over a gateway that comes and goes.

Page and stream are of one origin: a proxy in front sends streams to the gateway and the rest to the page's server.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from integration.helping import over, post, publishing, two_gateways
from proxy import Proxy
from redis.asyncio import Redis
from servers import HOST, GatewayProcess, until
from streams import assert_clean

from gateway.ids import EventId

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
CLOSED = 2
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--no-proxy-server",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--remote-debugging-port=0",
]

pytestmark = pytest.mark.skipif(
    shutil.which(CHROMIUM) is None and not os.environ.get("REQUIRE_BROWSER"),
    reason=f"there is no {CHROMIUM} (CHROMIUM names another one; REQUIRE_BROWSER=1 makes this a failure)",
)


class Page:
    """What the page reported, in order."""

    def __init__(self) -> None:
        self.reports: list[dict[str, Any]] = []

    @property
    def events(self) -> list[dict[str, Any]]:
        return [report for report in self.reports if report["kind"] == "event"]

    @property
    def numbers(self) -> list[int]:
        return [event["data"] for event in self.events if event["type"] == "number"]

    def opened(self) -> int:
        return sum(report["kind"] == "open" for report in self.reports)

    async def show(self, request: web.Request) -> web.StreamResponse:
        response = web.FileResponse(Path(__file__).with_name("page.html"))
        response.force_close()  # each request shall come on a connection of its own, for the proxy to route
        return response

    async def take(self, request: web.Request) -> web.StreamResponse:
        self.reports.append(await request.json())
        response = web.Response()
        response.force_close()
        return response


@asynccontextmanager
async def browser(gateway: GatewayProcess) -> AsyncIterator[Page]:
    """Chromium on a page whose stream comes from `gateway`."""
    page = Page()
    app = web.Application()
    app.add_routes([web.get("/", page.show), web.post("/report", page.take)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0).start()
    port = runner.addresses[0][1]

    def route(first: bytes) -> int:
        return gateway.port if first.startswith(b"GET /v1/events") else int(port)

    profile = tempfile.mkdtemp(prefix="test-chromium-")
    try:
        async with Proxy(gateway.port, route=route) as proxy, chromium(f"http://{HOST}:{proxy.port}/", profile):
            await until(page.opened, within=30, what="the page's EventSource is open")
            yield page
    except BaseException as error:
        error.add_note(f"the page reported, last: {page.reports[-20:]}")
        raise
    finally:
        await runner.cleanup()
        shutil.rmtree(profile, ignore_errors=True)


@asynccontextmanager
async def chromium(url: str, profile: str) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        CHROMIUM,
        *FLAGS,
        f"--user-data-dir={profile}",
        url,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env=os.environ | {"TMPDIR": profile},
        start_new_session=True,
    )
    try:
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(10):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("end", ["killed", "drained"])
async def test_an_eventsource_survives_its_gateway(redis_url: str, prefix: str, end: str) -> None:
    """The gateway goes away twice, once before any event: the page gets every number once, in order, and no gap."""
    settings = over(redis_url, prefix, GATEWAY_RETRY_MS="300", GATEWAY_DRAIN_SECONDS="0.5")
    number = {"event_type": "number", "data": 0}

    async def away() -> None:
        if end == "killed":
            gateway.kill()
        else:
            gateway.terminate()
        await gateway.wait()

    async with (
        two_gateways(settings) as (gateway, other),
        browser(gateway) as page,
    ):
        # An event without an id of its own shows where the page thinks it is: only the id-only block can have said so.
        before = await post(other.url, "/v1/users/bob/events", number)
        async with Redis.from_url(redis_url) as redis:
            await redis.publish(f"{prefix}:user:alice", '{"event_type":"message","data":"by hand"}')
        await until(lambda: page.events, within=30, what="the event that was published by hand arrives")
        assert page.events[0]["data"] == "by hand"
        position = page.events[0]["lastEventId"]
        assert EventId(0, 0) < EventId.parse(position) <= EventId.parse(before["id"])

        await away()
        first = await post(other.url, "/v1/users/alice/events", number)
        await gateway.start()
        await until(lambda: page.numbers, within=30, what="the event of the time without a gateway arrives")
        assert page.events[-1] == {"kind": "event", "type": "number", "data": 0, "lastEventId": first["id"]}

        async with publishing(other.url, per_second=100) as published:
            await until(lambda: len(page.numbers) >= 50, within=30)
            await away()
            reached = len(published.acknowledged) + 50
            await until(lambda: len(published.acknowledged) >= reached)
            await gateway.start()
            await until(lambda: page.opened() >= 3, within=30)
            reached = len(published.acknowledged) + 20
            await until(lambda: len(published.acknowledged) >= reached)
        expected = [0, *published.acknowledged]
        await until(lambda: len(page.numbers) >= len(expected), within=30)
        assert_clean(page.numbers, expected)

    told = {event["type"] for event in page.events}
    assert told == {"message", "number"} | ({"gateway.reconnect"} if end == "drained" else set())
    assert not [report for report in page.reports if report.get("readyState") == CLOSED]
    ids = [tuple(map(int, event["lastEventId"].split("-"))) for event in page.events if event["type"] == "number"]
    assert ids == sorted(set(ids))
