"""Clients that people use, each with a parser of its own: what they make of a stream, up to the event `last`."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import httpx
import httpx_sse
import requests
import sseclient
from aiohttp_sse_client.client import EventSource
from npm import ran

from gateway.event_stream import EventStreamParser

LAST = "last"
WITHIN = 60.0
READER = Path(__file__).with_name("reader.mjs")


class Seen(NamedTuple):
    type: str
    data: Any
    id: str


Reader = Callable[[str], Coroutine[Any, Any, list[Seen]]]


async def by_the_standard(url: str) -> list[Seen]:
    """The parser that knows nothing but the standard, which also tells of lines that mean nothing."""
    parser, seen = EventStreamParser(), []
    async with aiohttp.ClientSession() as http, http.get(url) as response:
        assert response.status == 200
        async for chunk in response.content.iter_any():
            seen += [Seen(event.type, event.data, event.last_event_id) for event in parser.feed(chunk)]
            if seen and seen[-1].type == LAST:
                break
    assert parser.ignored == []
    assert parser.retry != 1
    return seen


async def by_lines_of_unicode(url: str) -> list[Seen]:
    """What people write in ten lines: text, cut by Python's `splitlines`, which knows more ends than the standard."""
    seen: list[Seen] = []
    fields: dict[str, list[str]] = {}
    unread, id = "", ""
    async with httpx.AsyncClient(timeout=WITHIN) as http, http.stream("GET", url) as response:
        async for text in response.aiter_text():
            unread += text
            if not unread.endswith("\n\n"):
                continue
            for line in unread.splitlines():
                name, _, value = line.partition(": ")
                if line:
                    fields.setdefault(name, []).append(value)
                elif fields:
                    id = fields.get("id", [id])[-1]
                    if "data" in fields:
                        seen.append(Seen(fields.get("event", ["message"])[-1], "\n".join(fields["data"]), id))
                    assert fields.get("retry") != ["1"]
                    fields = {}
            unread = ""
            if seen and seen[-1].type == LAST:
                break
    return seen


async def by_httpx_sse(url: str) -> list[Seen]:
    seen = []
    async with (
        httpx.AsyncClient(timeout=WITHIN) as http,
        httpx_sse.aconnect_sse(http, "GET", url) as source,
    ):
        async for event in source.aiter_sse():
            assert event.retry != 1
            if event.data:  # it makes an empty message of a block without data
                seen.append(Seen(event.event, event.data, event.id))
            if event.event == LAST:
                break
    return seen


async def by_sseclient(url: str) -> list[Seen]:
    def read() -> list[Seen]:
        seen = []
        with requests.get(url, stream=True, timeout=WITHIN) as response:
            for event in sseclient.SSEClient(response.iter_content(None)).events():
                seen.append(Seen(event.event, event.data, event.id or ""))
                if event.event == LAST:
                    break
        return seen

    return await _in_a_thread(read)


async def by_aiohttp_sse_client(url: str) -> list[Seen]:
    seen = []
    # It reads line by line: a line is bounded by twice the reader's limit.
    async with aiohttp.ClientSession(read_bufsize=2**20) as http, EventSource(url, session=http) as source:
        async for event in source:
            seen.append(Seen(event.type, event.data, event.last_event_id))
            if event.type == LAST:
                break
    return seen


async def by_npm_eventsource(url: str) -> list[Seen]:
    out = await ran("node", str(READER), url, within=WITHIN)
    return [Seen(**json.loads(line)) for line in out.splitlines()]


async def _in_a_thread(read: Callable[[], list[Seen]]) -> list[Seen]:
    """A thread of its own, that a test which fails does not wait for."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[list[Seen]] = loop.create_future()

    def run() -> None:
        try:
            loop.call_soon_threadsafe(done.set_result, read())
        except BaseException as error:
            loop.call_soon_threadsafe(done.set_exception, error)

    threading.Thread(target=run, daemon=True).start()
    return await done


READERS: dict[str, Reader] = {
    "by the standard": by_the_standard,
    "lines of Unicode": by_lines_of_unicode,
    "httpx-sse": by_httpx_sse,
    "sseclient-py": by_sseclient,
    "aiohttp-sse-client": by_aiohttp_sse_client,
    "npm eventsource": by_npm_eventsource,
}
