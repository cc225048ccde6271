"""The chat of the examples, as people see it: two tabs of Chromium, and one that comes late."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
from browser.chromium import needs_chromium
from browser.tabs import Tab, one_browser
from docs.test_examples import EXAMPLES, running
from servers import HOST, GatewayProcess, free_port, until

pytestmark = [needs_chromium, pytest.mark.slow]

SAY = "document.forms[0].text.value = {text!r}; document.forms[0].requestSubmit()"


@pytest.fixture
def browser() -> Iterator[str]:
    with one_browser() as address:
        yield address


async def test_what_one_says_the_others_read(browser: str) -> None:
    """As text, whatever it holds; who comes late reads what was said before, once."""
    port = free_port()
    url = f"http://{HOST}:{port}"

    async def opened(devtools: aiohttp.ClientSession, name: str) -> Tab:
        async with devtools.put("/json/new?about:blank") as response:
            target = await response.json()
        tab = Tab(target["id"], await devtools.ws_connect(target["webSocketDebuggerUrl"]))
        await tab.call("Page.enable")
        await tab.call("Page.addScriptToEvaluateOnNewDocument", source=f"sessionStorage.name = {name!r}")
        await tab.call("Page.navigate", url=url)

        async def open() -> Any:
            return await tab.evaluate("document.getElementById('state')?.textContent === 'open'")

        await until(open, within=30, what="the page has its stream")
        return tab

    async def reads(tab: Tab, *lines: str) -> None:
        async def same() -> bool:
            shown: list[str] = await tab.evaluate(
                "[...document.querySelectorAll('#said li')].map((e) => e.textContent)"
            )
            return shown == list(lines)

        await until(same, within=30, what=f"the page shows {lines}")

    async with (
        GatewayProcess({"GATEWAY_CORS_ORIGINS": url}, "--dev") as gateway,
        running(str(EXAMPLES / "chat.py"), port=port, env={"GATEWAY": gateway.url, "PORT": str(port)}),
        aiohttp.ClientSession(browser) as devtools,
    ):
        ann, bob = await opened(devtools, "ann"), await opened(devtools, "bob")
        await ann.evaluate(SAY.format(text="hello"))
        await reads(bob, "ann: hello")
        await bob.evaluate(SAY.format(text="<b>hi</b>"))
        said = ("ann: hello", "bob: <b>hi</b>")
        tabs = [ann, bob, await opened(devtools, "late"), await opened(devtools, "ann")]
        for tab in tabs:
            await reads(tab, *said)
        await bob.evaluate(SAY.format(text="bye"))
        for tab in tabs:
            await reads(tab, *said, "bob: bye")
            await tab.let_go()
