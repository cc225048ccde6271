"""Tabs of one real Chromium with the JavaScript client, driven over the DevTools protocol.

Their page is an application's, of another origin than the gateway; its server gives the tokens.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
from aiohttp import web
from browser.chromium import CHROMIUM, FLAGS
from browser.nginx_pages import STARTS_WITHIN, devtools_port
from servers import HOST, GatewayProcess, free_port, until
from web.inprocess import SECRET, claims, token

PAGE = Path(__file__).with_name("tab.html")
ANSWERS_WITHIN = 30.0


class Tab:
    """One tab. `call` is a DevTools command, `evaluate` the value of an expression in the page."""

    def __init__(self, id: str, devtools: aiohttp.ClientWebSocketResponse) -> None:
        self.id = id
        self._devtools = devtools
        self._numbers = itertools.count(1)

    async def let_go(self) -> None:
        await self._devtools.close()

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        await self._devtools.send_json({"id": number, "method": method, "params": params})
        async with asyncio.timeout(ANSWERS_WITHIN):
            while (answer := await self._devtools.receive_json()).get("id") != number:
                pass
        assert "error" not in answer, f"{method}: {answer}"
        result: dict[str, Any] = answer["result"]
        return result

    async def evaluate(self, expression: str) -> Any:
        result = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def report(self) -> dict[str, Any]:
        report: dict[str, Any] = json.loads(await self.evaluate("JSON.stringify(window.report ?? null)"))
        return report

    async def last_words(self) -> str:
        report = await self.report()
        leads = await self.leads()
        locks = await self.evaluate("navigator.locks.query().then((locks) => JSON.stringify(locks))")
        return f"{leads=} {locks=} {report['states'][-8:]} {report['gaps']} {report['events'][-3:]}"

    async def numbers(self) -> list[int]:
        return [data for type, data, _ in (await self.report())["events"] if type == "number"]

    async def state(self) -> str | None:
        state: str | None = await self.evaluate("window.connection?.state")
        return state

    async def leads(self) -> bool:
        return bool(await self.evaluate("connection.leads"))

    async def try_now(self) -> None:
        """As when the device is online again: do not wait for the next attempt's time."""
        await self.evaluate("void dispatchEvent(new Event('online'))")

    async def offline(self, offline: bool) -> None:
        nothing = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        await self.call("Network.enable")
        await self.call("Network.emulateNetworkConditions", offline=offline, **nothing)


class Application:
    """The browser, the application's server, and the tabs. `token_seconds` is how long its tokens last."""

    def __init__(
        self, gateway: GatewayProcess, origin: str, devtools: aiohttp.ClientSession, http: aiohttp.ClientSession
    ) -> None:
        self.gateway = gateway
        self.tabs: list[Tab] = []
        self.token_seconds = 600.0
        self.tokens_given = 0
        self._origin = origin
        self._devtools = devtools
        self._http = http

    async def open(self, user: str = "alice", *, wait: bool = True, **more: Any) -> Tab:
        """A new tab; returns when its stream is open, its own or another tab's."""
        told = quote(json.dumps({"gateway": self.gateway.url, "user": user, **more}))
        async with self._devtools.put(f"/json/new?{quote(f'{self._origin}/#{told}')}") as response:
            assert response.status == 200, await response.text()
            target = await response.json()
        tab = Tab(target["id"], await self._devtools.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0))
        self.tabs.append(tab)
        if wait:
            await self.opened(tab)
        return tab

    async def opened(self, *tabs: Tab) -> None:
        for tab in tabs or self.tabs:

            async def is_open(tab: Tab = tab) -> bool:
                return await tab.state() == "open"

            await until(is_open, within=ANSWERS_WITHIN, what="a tab's stream is open")

    async def close(self, tab: Tab) -> None:
        self.tabs.remove(tab)
        await tab.let_go()
        async with self._devtools.get(f"/json/close/{tab.id}"):
            pass

    async def leader(self) -> Tab:
        """The one tab that leads."""

        async def one() -> Tab | None:
            leading = [tab for tab in self.tabs if await tab.leads()]
            return leading[0] if len(leading) == 1 else None

        found = await until(one, within=ANSWERS_WITHIN, what="one tab leads")
        assert found is not None
        return found

    async def heard(self, numbers: list[int], *tabs: Tab, within: float = 30) -> None:
        """Wait until these tabs, or all, have as many numbers as were published; which ones is for the test."""
        for tab in tabs or self.tabs:

            async def enough(tab: Tab = tab) -> bool:
                return len(await tab.numbers()) >= len(numbers)

            await until(enough, within=within, what=f"a tab hears {len(numbers)} numbers")

    async def connections(self) -> float:
        """How many streams the gateway has."""
        return await self._metric("gateway_connections{")

    async def opened_in_all(self) -> float:
        return await self._metric("gateway_connections_opened_total")

    async def _metric(self, name: str) -> float:
        async with self._http.get(f"{self.gateway.url}/metrics") as response:
            lines = (await response.text()).splitlines()
        found = [float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)]
        assert found, f"there is no {name}"
        return sum(found)

    async def show(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(PAGE)

    async def away(self, request: web.Request) -> web.Response:
        return web.Response(text="another page")

    async def give_token(self, request: web.Request) -> web.Response:
        self.tokens_given += 1
        user = request.query["user"]
        return web.Response(text=token(claims(user, seconds=self.token_seconds, topics=["*"], iat=time.time())))


@contextmanager
def one_browser() -> Iterator[str]:
    """Chromium without a page; its DevTools address. For a module's fixture: to start it takes longer than a test."""
    with tempfile.TemporaryDirectory(prefix="test-chromium-", ignore_cleanup_errors=True) as profile:
        words = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        nothing = subprocess.DEVNULL
        process = subprocess.Popen(
            words, stdin=nothing, stdout=nothing, stderr=nothing, env=os.environ | {"TMPDIR": profile}
        )
        try:
            deadline = time.monotonic() + STARTS_WITHIN
            while (port := devtools_port(profile)) is None:
                assert process.poll() is None, "Chromium ended"
                assert time.monotonic() < deadline, "Chromium did not start"
                time.sleep(0.05)
            yield f"http://{HOST}:{port}"
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@asynccontextmanager
async def application(browser: str, settings: Mapping[str, str]) -> AsyncIterator[Application]:
    """A gateway with these settings, in development mode, and a page of another origin that it lets in."""
    port = free_port()
    origin = f"http://{HOST}:{port}"
    own = {"GATEWAY_JWT_SECRET": SECRET, "GATEWAY_CORS_ORIGINS": origin, "GATEWAY_RETRY_MS": "100"}
    async with (
        GatewayProcess(own | dict(settings), "--dev") as gateway,
        aiohttp.ClientSession(browser) as devtools,
        aiohttp.ClientSession() as http,
    ):
        it = Application(gateway, origin, devtools, http)
        pages = web.Application()
        pages.add_routes([web.get("/", it.show), web.get("/away", it.away), web.get("/token", it.give_token)])
        runner = web.AppRunner(pages, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, HOST, port).start()
            yield it
        except BaseException as error:
            for number, tab in enumerate(it.tabs):
                with suppress(Exception):
                    error.add_note(f"tab {number}: {await tab.last_words()}")
            raise
        finally:
            for tab in list(it.tabs):
                await it.close(tab)
            await runner.cleanup()
