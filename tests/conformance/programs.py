"""The programs of docs/subscribe.md, run as their readers would run them: in Node, in Python, on a page in Chromium.

Each prints a line for every event. They differ from the page in the gateway's address, and in nothing else.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

import aiohttp
from aiohttp import web
from browser.tabs import Tab
from npm import PACKAGES
from servers import HOST, ROOT

GUIDE = ROOT / "docs" / "subscribe.md"
ADDRESS = "https://events.example.com"
CLIENT = ROOT / "gateway" / "web" / "client"
LINE = re.compile(r"(\d+-\d+) basket\.count (-?\d+)")

PAGE = """<!doctype html>
<script>
  window.lines = [];
  console.log = (...words) => lines.push(words.join(" "));
  window.onerror = window.onunhandledrejection = (event) => lines.push(`failed: ${event.reason ?? event}`);
</script>
<script type="importmap">
  {"imports": {"@microsoft/fetch-event-source": "/npm/@microsoft/fetch-event-source/lib/esm/index.js"}}
</script>
<script type="module" src="program.js"></script>
"""


class Program(NamedTuple):
    """`kind` is what comes behind its opening fence: "js browser", "js node", "python", "sh", …"""

    name: str
    kind: str
    text: str

    def at(self, url: str) -> str:
        return self.text.replace(ADDRESS, url)


def programs() -> Iterator[Program]:
    """Named by the heading above."""
    heading = ""
    for found in re.finditer(
        r"^#+ (?P<heading>.*)$|^```(?P<kind>.+)\n(?P<text>(?:.*\n)*?)```$", GUIDE.read_text(), re.M
    ):
        if found["heading"] is not None:
            heading = found["heading"]
        else:
            yield Program(heading, found["kind"], found["text"])


class Running(Protocol):
    async def lines(self) -> list[str]: ...


class InProcess:
    """A program with a process of its own."""

    def __init__(self, output: Path) -> None:
        self._output = output

    async def lines(self) -> list[str]:
        whole, _, _ = self._output.read_text().rpartition("\n")
        return whole.splitlines()


class OnPage:
    """A program in a tab."""

    def __init__(self, tab: Tab) -> None:
        self._tab = tab

    async def lines(self) -> list[str]:
        lines: list[str] = await self._tab.evaluate("lines")
        return lines


async def numbers(program: Running) -> list[int]:
    """What it printed of events; in each line an id that is newer than the one before."""
    found = [match for line in await program.lines() if (match := LINE.fullmatch(line))]
    ids = [tuple(map(int, match[1].split("-"))) for match in found]
    assert ids == sorted(set(ids))
    return [int(match[2]) for match in found]


async def other_lines(program: Running) -> list[str]:
    return [line for line in await program.lines() if not LINE.fullmatch(line)]


def with_packages(folder: Path) -> None:
    """Node finds there what `npm install` would have put there."""
    modules = folder / "node_modules"
    modules.mkdir()
    for package in PACKAGES.iterdir():
        (modules / package.name).symlink_to(package)
    (modules / "event-gateway-client").symlink_to(CLIENT)


@asynccontextmanager
async def process(folder: Path, name: str, *words: str, env: Mapping[str, str]) -> AsyncIterator[InProcess]:
    output = folder / f"{name}.out"
    with output.open("wb") as file:
        child = await asyncio.create_subprocess_exec(
            *words, cwd=folder, env=os.environ | dict(env), stdin=subprocess.DEVNULL, stdout=file, stderr=file
        )
    try:
        yield InProcess(output)
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


@asynccontextmanager
async def page(devtools: str, port: int, program: str, token: str) -> AsyncIterator[OnPage]:
    """A page of an application, on a port of its own, whose user has `token`, as a cookie too."""

    async def show(request: web.Request) -> web.Response:
        response = web.Response(text=PAGE, content_type="text/html")
        response.set_cookie("gateway_token", token)  # of the host, whatever the port
        return response

    async def text(request: web.Request) -> web.Response:
        return web.Response(text=program, content_type="text/javascript")

    async def give_token(request: web.Request) -> web.Response:
        return web.Response(text=token)

    async def package(request: web.Request) -> web.FileResponse:
        path = PACKAGES / request.match_info["path"]
        return web.FileResponse(path if path.suffix else path.with_suffix(".js"))

    app = web.Application()
    app.add_routes([web.get("/", show), web.get("/program.js", text), web.get("/events-token", give_token)])
    app.add_routes([web.get("/npm/{path:.*}", package)])
    runner = web.AppRunner(app, access_log=None)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(runner.cleanup)
        await runner.setup()
        await web.TCPSite(runner, HOST, port).start()
        http = await stack.enter_async_context(aiohttp.ClientSession(devtools))
        async with http.put(f"/json/new?http://{HOST}:{port}/") as response:
            target = await response.json()
        socket = await stack.enter_async_context(http.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0))
        yield OnPage(Tab(target["id"], socket))
        await http.get(f"/json/close/{target['id']}")


def words_for(program: Program, file: Path) -> list[str]:
    return ["node", str(file)] if program.kind == "js node" else [sys.executable, str(file)]
