"""Pages of a real Chromium, each a tab of its own, asked over the DevTools protocol for what they have seen.

A browser opens six connections to a host, over all its tabs; so every page has a host name of its own. Chromium takes
every name under `localhost` for this machine.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Self

import aiohttp
from browser.chromium import CLOSED, chromium
from chaos.fleet import Client
from servers import HOST, until

CONNECTING, OPEN = 0, 1
PAGE = Path(__file__).with_name("nginx_page.html")
LOCATION = f"location = /page {{ default_type text/html; alias {PAGE}; }}"
"""For the site's own locations: page and stream are of one origin."""

STARTS_WITHIN = 30.0
OPENS_AT_ONCE = 4
ASKED_EVERY = 0.2


class Page(Client):
    """A client whose stream is an EventSource's. `ready_state` and `received` are as of the last `look`."""

    def __init__(self, url: str, token: str) -> None:
        super().__init__(lambda: url, "/v1/events", token)
        self.ready_state = CONNECTING
        self._tab: aiohttp.ClientWebSocketResponse | None = None

    @property
    def connected(self) -> bool:
        return self.ready_state == OPEN

    @property
    def closed(self) -> bool:
        """Whether its EventSource has given up for good."""
        return self.ready_state == CLOSED

    async def open(self, http: aiohttp.ClientSession) -> None:
        """In a new tab; returns when the page has run its script."""
        async with http.put(f"/json/new?{self._url()}/page%23{self._token}") as response:
            assert response.status == 200, await response.text()
            target = await response.json()
        self._tab = await http.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0)
        await until(self.look, within=STARTS_WITHIN, what=f"{self._url()}/page runs")

    async def leave(self) -> None:
        """No longer ask it; it stays open as long as its browser."""
        if self._tab is not None:
            await self._tab.close()

    async def look(self) -> bool:
        """Ask the page; whether it was there to answer."""
        assert self._tab is not None
        expression = "typeof report === 'function' ? report() : null"
        await self._tab.send_json({"id": 1, "method": "Runtime.evaluate", "params": {"expression": expression}})
        async with asyncio.timeout(STARTS_WITHIN):
            answer = await self._tab.receive_json()
        value = answer["result"]["result"].get("value")
        if value is None:
            return False
        self._take(json.loads(value))
        return True

    def _take(self, report: dict[str, Any]) -> None:
        self.ready_state = report["readyState"]
        self.received.opened = report["opened"]
        self.received.told["gateway.gap"] = report["gaps"]
        self.received.events[:] = [(channel, number) for channel, number in report["events"]]


class Pages:
    """`async with Pages(pages):` — all open in one browser, and looked at again and again until the body ends."""

    def __init__(self, pages: Sequence[Page]) -> None:
        self.pages = pages
        self._stack = AsyncExitStack()
        self._looking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            if not self.pages:
                return self
            http = await stack.enter_async_context(browser())
            free = asyncio.Semaphore(OPENS_AT_ONCE)

            async def open_in_turn(page: Page) -> None:
                async with free:
                    await page.open(http)

            await asyncio.gather(*(open_in_turn(page) for page in self.pages))
            self._looking = asyncio.create_task(self._look(), name="looking-at-pages")
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            if self._looking is not None:
                self._looking.cancel()
                await asyncio.gather(self._looking, return_exceptions=True)
                await asyncio.gather(*(page.leave() for page in self.pages))
        finally:
            await self._stack.aclose()

    async def settled(self, *, within: float) -> None:
        """No page is still connecting: each has its stream, or has given up."""
        if not self.pages:
            return
        await until(
            lambda: self._alive() and all(page.ready_state != CONNECTING for page in self.pages),
            within=within,
            what="every page's EventSource has connected or given up",
        )

    def _alive(self) -> bool:
        assert self._looking is not None
        if self._looking.done():
            self._looking.result()  # raises what ended it
        return True

    async def _look(self) -> None:
        while True:
            for page in self.pages:
                assert await page.look(), "the page is gone"
            await asyncio.sleep(ASKED_EVERY)


@asynccontextmanager
async def browser() -> AsyncIterator[aiohttp.ClientSession]:
    """Chromium without a page, and a session whose base is its DevTools endpoint."""
    with tempfile.TemporaryDirectory(prefix="test-chromium-", ignore_cleanup_errors=True) as profile:
        async with chromium("about:blank", profile):
            port = await until(lambda: devtools_port(profile), within=STARTS_WITHIN, what="Chromium has started")
            async with aiohttp.ClientSession(f"http://{HOST}:{port}") as http:
                yield http


def devtools_port(profile: str) -> str | None:
    """Chromium chooses a free one, and writes it down; None until it has."""
    path = Path(profile, "DevToolsActivePort")
    port, written, _ = path.read_text().partition("\n") if path.exists() else ("", "", "")
    return port if written else None
