"""A real Chromium with a real EventSource, on a page that tells the test what it sees.

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
from typing import Any, Protocol

import pytest
from aiohttp import web
from proxy import Proxy
from servers import HOST, until

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
    "--ignore-certificate-errors",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--remote-debugging-port=0",
]


def there_is_chromium() -> bool:
    return shutil.which(CHROMIUM) is not None


needs_chromium = pytest.mark.skipif(
    not there_is_chromium() and not os.environ.get("REQUIRE_BROWSER"),
    reason=f"there is no {CHROMIUM} (CHROMIUM names another one; REQUIRE_BROWSER=1 makes this a failure)",
)


class Reached(Protocol):
    """A gateway on loopback, however it runs."""

    @property
    def port(self) -> int: ...


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
async def browser(gateway: Reached) -> AsyncIterator[Page]:
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
