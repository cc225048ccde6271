"""The console in a real Chromium, over real gateways.

CONSOLE_PICTURES=folder keeps a picture of each view, to look at.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from browser.chromium import needs_chromium
from browser.nginx_pages import browser
from browser.tabs import Tab
from integration.helping import over, post, two_gateways
from servers import GatewayProcess, until
from streams import Stream
from web.inprocess import SECRET

KEY = "the-key-of-the-console"
PICTURES = os.environ.get("CONSOLE_PICTURES")
WITHIN = 30.0

pytestmark = [needs_chromium, pytest.mark.slow]


class Console(Tab):
    """A tab with the console in it. `complaints` are what the browser had to say against it."""

    async def text(self) -> str:
        return str(await self.evaluate("document.body?.innerText ?? ''"))

    async def shows(self, *words: str, without: str = "") -> None:
        """Wait until the page has all of these words, and not those."""
        seen = ""

        async def all_there() -> bool:
            nonlocal seen
            seen = await self.text()
            return all(word in seen for word in words) and (not without or without not in seen)

        try:
            await until(all_there, within=WITHIN, what=f"the page shows {words}")
        except AssertionError as error:
            error.add_note(f"it shows:\n{seen[:2000]}")
            raise

    async def go(self, view: str) -> None:
        await self.evaluate(f"location.hash = {json.dumps(view)}")

    async def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            await self.call("Input.dispatchKeyEvent", type=kind, key=key, text=key if kind == "keyDown" else "")

    async def fill(self, label: str, value: str) -> None:
        """The field of a label, as a person would leave it."""
        script = f"""
            [...document.querySelectorAll("label")].find((l) => l.innerText.startsWith({json.dumps(label)}))
                .querySelector("input, textarea, select").value = {json.dumps(value)}"""
        await self.evaluate(script)

    async def click(self, button: str) -> None:
        await self.evaluate(
            f"[...document.querySelectorAll('main button')].find((b) => b.innerText === {json.dumps(button)}).click()"
        )

    async def picture(self, name: str, *, width: int = 1200, dark: bool = False) -> None:
        if PICTURES is None:
            return
        size = {"width": width, "height": 850, "deviceScaleFactor": 1, "mobile": False}
        await self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])
        shot = await self.call("Page.captureScreenshot", format="png")
        _keep(PICTURES, name, base64.b64decode(shot["data"]))

    async def complaints(self) -> list[Any]:
        """Errors of scripts, and what the page's own policy forbade."""
        complaints: list[Any] = await self.evaluate("window.complaints")
        return complaints


def _keep(folder: str, name: str, picture: bytes) -> None:
    Path(folder, f"{name}.png").write_bytes(picture)


_COLLECTED = """
    window.complaints = [];
    addEventListener("error", (event) => complaints.push(event.message));
    addEventListener("unhandledrejection", (event) => complaints.push(`${event.reason}`));
    addEventListener("securitypolicyviolation", (event) => complaints.push(`${event.violatedDirective} ${event.blockedURI}`));
    window.confirm = () => true;
"""  # noqa: E501 - one listener a line


@asynccontextmanager
async def console(url: str, view: str = "") -> AsyncIterator[Console]:
    async with browser() as devtools:
        async with devtools.put(f"/json/new?{quote('about:blank')}") as response:
            target = await response.json()
        tab = Console(target["id"], await devtools.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0))
        await tab.call("Page.enable")
        await tab.call("Page.addScriptToEvaluateOnNewDocument", source=_COLLECTED)
        await tab.call("Page.navigate", url=f"{url}/console{view}")
        yield tab
        assert await tab.complaints() == []


async def test_a_fleet_is_seen_whole(redis_url: str, prefix: str) -> None:
    """Both processes, whichever is asked, and what they do; one that drains, and one that is gone."""
    async with (
        two_gateways(over(redis_url, prefix)) as (one, two),
        Stream(one.url, "user=alice"),
        Stream(two.url, "user=alice"),
        Stream(two.url, "user=bob"),
        console(one.url) as page,
    ):
        await page.shows("Fleet", "Processes", f"-{one.pid}-", f"-{two.pid}-", "ready")
        await page.shows("4\nstreams")  # with the console's own
        await page.picture("fleet")
        await page.picture("fleet-dark", dark=True)
        await page.picture("fleet-narrow", width=390)
        await page.press("2")
        await page.shows("Most streams now", "user:alice", "user:bob")
        await page.picture("channels")
        await page.go("users?id=alice")
        await page.shows("2 streams over all processes", f"-{one.pid}-", f"-{two.pid}-", "live")
        await page.picture("users")
        await page.press("1")
        two.terminate()
        await two.wait()
        await page.shows("Processes", f"-{one.pid}-", without=f"-{two.pid}-")


async def test_a_user_is_sent_away(redis_url: str, prefix: str) -> None:
    """From all processes, by one button; and for as long as was chosen."""
    async with (
        two_gateways(over(redis_url, prefix)) as (one, two),
        Stream(one.url, "user=alice") as here,
        Stream(two.url, "user=alice") as there,
        Stream(two.url, "user=bob") as other,
        console(one.url, "#users?id=alice") as page,
    ):
        await page.shows("2 streams over all processes", "live")
        await page.fill("Keep away", "600")
        await page.click("Disconnect")
        await until(lambda: here.ended_at and there.ended_at)
        await page.shows("0 streams over all processes")
        assert other.ended_at is None
        async with aiohttp.ClientSession() as http, http.get(f"{two.url}/v1/events?user=alice") as response:
            assert response.status == 204


async def test_what_is_published_there_is_followed_there(redis_url: str, prefix: str) -> None:
    """The form's event is in the tail, with its data; and from its beginning when that is asked for."""
    async with two_gateways(over(redis_url, prefix)) as (one, _), console(one.url, "#publish") as page:
        await page.shows("The same, from elsewhere", "curl", "Python", "JavaScript")
        await page.fill("Event type", "console.test")
        await page.fill("Data", '{"text": "</script><img src=x onerror=alert(1)>"}')
        await page.click("Publish")
        await page.shows("Taken as", "nobody is listening now")
        await page.picture("publish")
        await page.go("tail?kind=user&name=alice&from=earliest")
        await page.shows("console.test", "</script><img src=x onerror=alert(1)>")
        assert await page.evaluate("document.querySelectorAll('main img').length") == 0
        await page.evaluate("document.querySelector('.tail summary').click()")
        await page.shows('"text": "</script>')
        await page.picture("tail")


async def test_a_thousand_events_a_second_do_not_freeze_the_page(redis_url: str, prefix: str) -> None:
    """All are counted, the newest are shown, the page answers meanwhile, and its list does not grow without end."""
    batches, size = 60, 100
    async with two_gateways(over(redis_url, prefix)) as (one, two), console(one.url, "#tail?kind=broadcast") as page:
        await page.shows("open")
        longest = 0.0
        clock = asyncio.get_running_loop().time
        began = clock()
        for batch in range(batches):
            events = [{"event_type": "load", "data": {"number": batch * size + i}} for i in range(size)]
            await post(two.url, "/v1/broadcast", events)
            asked = clock()
            await page.evaluate("new Promise((done) => setTimeout(done))")
            longest = max(longest, clock() - asked)
            await asyncio.sleep(began + (batch + 1) * size / 1000 - clock())
        await page.shows("6.0k events", f'"number":{batches * size - 1}')
        assert await page.evaluate("document.querySelectorAll('.tail details').length") <= 200
        assert longest < WITHIN, f"the page did not answer for {longest:.1f} s"


async def test_in_production_the_key_opens_it(redis_url: str, prefix: str) -> None:
    """A wrong one is told; the right one is kept by the tab, and by nothing else."""
    settings = over(
        redis_url, prefix, GATEWAY_JWT_SECRET=SECRET, GATEWAY_PUBLISH_KEYS="a-publish-key", GATEWAY_CONSOLE_KEY=KEY
    )
    async with GatewayProcess(settings) as gateway, console(gateway.url) as page:
        await page.shows("The console's key")
        await page.picture("key")
        await page.fill("Key", "not-the-key-of-this")
        await page.click("Open")
        await page.shows("this is not the console's key")
        await page.fill("Key", KEY)
        await page.click("Open")
        await page.shows("Processes", f"-{gateway.pid}-")
        await page.press("6")
        await page.shows("GATEWAY_CONSOLE_KEY", "********")
        await page.picture("settings")
        assert await page.evaluate("[document.cookie, JSON.stringify(localStorage)]") == ["", "{}"]
        assert KEY not in gateway.log
