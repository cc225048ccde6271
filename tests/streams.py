"""A subscriber for tests: what an EventSource would see, kept, and as bytes. It does not come back by itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp
from servers import until

from gateway.event_stream import Event, EventStreamParser

STREAM_PATH = "/v1/events"


class Stream:
    """One connection: `async with Stream(gateway.url, "user=alice") as stream: event = await stream.next()`.

    base      the gateway's address; `query` is the rest of the URL, `path` where the streams are
    cursor    sent as Last-Event-ID
    events    all that arrived, those given by `next` included
    raw       the body as it came
    ended_at  the time (since the epoch) at which the gateway ended the stream; None while it is open
    cut       whether it ended without the end that HTTP asks for
    """

    def __init__(
        self,
        base: str,
        query: str = "",
        *,
        cursor: str = "",
        token: str = "",
        headers: Mapping[str, str] | None = None,
        path: str = STREAM_PATH,
    ) -> None:
        self.url = f"{base}{path}?{query}" if query else base + path
        self.cursor = cursor
        self.events: list[Event] = []
        self.raw = bytearray()
        self.ended_at: float | None = None
        self.cut = False
        self.status = 0
        self._sent = {"Accept": "text/event-stream"} | dict(headers or {})
        if cursor:
            self._sent["Last-Event-ID"] = cursor
        if token:
            self._sent["Authorization"] = f"Bearer {token}"
        self._parser = EventStreamParser()
        self._given = 0
        self._http: aiohttp.ClientSession | None = None
        self._response: aiohttp.ClientResponse | None = None
        self._reading: asyncio.Task[None] | None = None

    async def open(self) -> Self:
        """Returns when the gateway has answered 200: whatever is published from now on must arrive."""
        # A session of its own: nothing is shared with other streams, and closing it closes the socket at once.
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None, sock_connect=5))
        try:
            self._response = await self._http.get(self.url, headers=self._sent, allow_redirects=False)
            self.status = self._response.status
            assert self.status == 200, f"{self.url}: {self.status} {await self._response.text()}"
        except BaseException:
            await self._http.close()
            raise
        self._reading = asyncio.create_task(self._read(self._response), name="test-stream")
        return self

    async def close(self) -> None:
        """Leave, as a client does that goes away."""
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading
        if self._response is not None:
            self._response.close()
        if self._http is not None:
            await self._http.close()

    def resumed(self) -> Stream:
        """The next connection of this client, not open yet: with the cursor that it would send."""
        again = Stream(self.url, cursor=self.last_event_id, headers=self._sent, path="")
        if not self.last_event_id:
            again._sent.pop("Last-Event-ID", None)
        return again

    @property
    def headers(self) -> Mapping[str, str]:
        assert self._response is not None
        return self._response.headers

    @property
    def last_event_id(self) -> str:
        """What the client would send as `Last-Event-ID` if the stream ended now."""
        return self._parser.last_event_id or self.cursor

    @property
    def retry(self) -> int | None:
        return self._parser.retry

    @property
    def comments(self) -> int:
        return self._parser.comments

    @property
    def ignored(self) -> list[str]:
        """Lines that mean nothing to a client: there should be none."""
        return self._parser.ignored

    @property
    def types(self) -> list[str]:
        return [event.type for event in self.events]

    def data(self, event_type: str | None = None) -> list[Any]:
        """The decoded data of all events, or of those of one type, in the order in which they came."""
        return [json.loads(e.data) for e in self.events if event_type in (None, e.type)]

    async def next(self, *, within: float = 5) -> Event:
        """The next event that was not asked for yet."""
        await self.count(self._given + 1, within=within)
        self._given += 1
        return self.events[self._given - 1]

    async def next_of(self, event_type: str, *, within: float = 5) -> Event:
        """The next event of a type; others before it are passed over."""
        async with asyncio.timeout(within):
            while (event := await self.next(within=within)).type != event_type:
                pass
        return event

    async def count(self, number: int, *, within: float = 5) -> list[Event]:
        """All events, as soon as there are `number` of them."""
        await until(
            lambda: len(self.events) >= number or self.ended_at is not None,
            within=within,
            what=f"{number} events on {self.url}; there are {self.events[-5:]}",
        )
        assert len(self.events) >= number, f"the stream ended before event {number}; there were {self.events[-5:]}"
        return self.events

    async def position(self, *, within: float = 5) -> str:
        """The first cursor that the client was handed."""
        return await until(lambda: self._parser.last_event_id, within=within, what=f"an id on {self.url}")

    async def end(self, *, within: float = 5) -> float:
        """Wait until the gateway ends the stream; the time of it."""
        await until(lambda: self.ended_at is not None, within=within, what=f"{self.url} ends")
        assert self.ended_at is not None
        return self.ended_at

    async def _read(self, response: aiohttp.ClientResponse) -> None:
        try:
            async for chunk in response.content.iter_any():
                self.raw += chunk
                self.events += self._parser.feed(chunk)
        except (aiohttp.ClientError, OSError):
            self.cut = True
        self.ended_at = time.time()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


def assert_clean(got: Iterable[int], expected: Iterable[int]) -> None:
    """Nothing lost, nothing twice, in order; says what is wrong when something is."""
    got, expected = list(got), list(expected)
    if got == expected:
        return
    lost = sorted(set(expected) - set(got))
    twice = sorted({number for number in got if got.count(number) > 1})
    strange = sorted(set(got) - set(expected))
    at = next((i for i, (a, b) in enumerate(zip(got, expected, strict=False)) if a != b), min(len(got), len(expected)))
    raise AssertionError(
        f"{len(got)} of {len(expected)}: lost {lost[:10]}, twice {twice[:10]}, unexpected {strange[:10]}; "
        f"first difference at {at}: {got[max(at - 3, 0) : at + 5]}"
    )
