"""Subscribers for tests that are no event streams: one that reads NDJSON, and one that polls."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from servers import until

NDJSON = "application/x-ndjson"


class Lines:
    """What came on one stream of lines: `events` have an event type (or CloudEvents' `type`), `notes` have none."""

    def __init__(self) -> None:
        self.headers: Mapping[str, str] = {}
        self.events: list[dict[str, Any]] = []
        self.notes: list[dict[str, Any]] = []
        self.empty = 0
        self.raw = bytearray()
        self.ended = False

    @property
    def cursor(self) -> str | None:
        """What a client would come back with: the last `cursor` or `id` in the order of lines."""
        told = [json.loads(line) for line in self.raw.splitlines() if line]
        found = [line.get("cursor") or line.get("id") for line in told if line.get("cursor") or line.get("id")]
        return found[-1] if found else None

    async def count(self, number: int, *, within: float = 5) -> list[dict[str, Any]]:
        await until(lambda: len(self.events) >= number, within=within, what=f"{number} lines; there are {self.raw!r}")
        return self.events

    def take(self, line: bytes) -> None:
        if not line.strip():
            self.empty += 1
            return
        told = json.loads(line)
        (self.events if "event_type" in told or "type" in told else self.notes).append(told)


@asynccontextmanager
async def lines(url: str, query: str, *, cursor: str = "", accept: str = NDJSON) -> AsyncIterator[Lines]:
    """The answer was 200 when the body runs: whatever is published from then on must arrive."""
    headers = {"Accept": accept} | ({"Last-Event-ID": cursor} if cursor else {})
    got = Lines()

    async def read(response: aiohttp.ClientResponse) -> None:
        rest = b""
        with contextlib.suppress(aiohttp.ClientError):
            async for chunk in response.content.iter_any():
                got.raw += chunk
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    got.take(line)
        got.ended = True

    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as http,
        http.get(f"{url}/v1/events?{query}", headers=headers) as response,
    ):
        assert response.status == 200, await response.text()
        got.headers = response.headers
        reading = asyncio.create_task(read(response))
        try:
            yield got
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


class Poller:
    """A client that asks again and again, with the cursor it was given."""

    def __init__(self, http: aiohttp.ClientSession, url: str, query: str, cursor: str | None = None) -> None:
        self.http = http
        self.url = f"{url}/v1/events?{query}"
        self.cursor = cursor
        self.events: list[dict[str, Any]] = []
        self.gaps: list[dict[str, Any]] = []
        self.answers: list[dict[str, Any]] = []

    async def poll(self, wait: float | None = None) -> dict[str, Any]:
        headers = {"Accept": "application/json"} | ({"Last-Event-ID": self.cursor} if self.cursor else {})
        url = self.url if wait is None else f"{self.url}&wait={wait:g}"
        async with self.http.get(url, headers=headers) as response:
            assert response.status == 200, f"{response.status} {await response.text()}"
            assert response.content_type == "application/json"
            answer: dict[str, Any] = await response.json()
        self.answers.append(answer)
        self.events += answer["events"]
        self.gaps += [answer["gap"]] if "gap" in answer else []
        self.cursor = answer["cursor"]
        return answer

    async def count(self, number: int, *, wait: float = 5) -> list[dict[str, Any]]:
        async with asyncio.timeout(20):
            while len(self.events) < number:
                await self.poll(wait)
        return self.events
