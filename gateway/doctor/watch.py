"""One stream under observation: when it was opened, what came and when, and how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import aiohttp
from yarl import URL

from ..client.subscriber.endings import Unavailable
from ..client.subscriber.http import HttpStream, open_stream
from ..errors import GatewayError
from ..event_stream import Event

now = time.perf_counter


def time_of(moment: float) -> float:
    """A moment of `now` as seconds since the epoch."""
    return time.time() - (now() - moment)


@dataclass(frozen=True, slots=True)
class Arrival:
    at: float
    event: Event


@dataclass(frozen=True, slots=True)
class End:
    """`whole` is an end as HTTP has it; else the connection broke."""

    at: float
    why: str
    whole: bool


class Watch:
    """`async with Watch(…) as watch`: it is asked for, and read until the body ends. Times are `perf_counter`.

    refused  why there is no stream: the gateway's answer, or that there was none
    """

    def __init__(self, session: aiohttp.ClientSession, url: URL, headers: Mapping[str, str], cursor: str = "") -> None:
        self.arrivals: list[Arrival] = []
        self.opened_at: float | None = None
        self.first_byte_at: float | None = None
        self.last_byte_at: float | None = None
        self.end: End | None = None
        self.refused: GatewayError | Unavailable | None = None
        self.asked_at = 0.0
        self._session, self._url, self._headers, self._cursor = session, url, headers, cursor
        self._stream: HttpStream | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def response(self) -> aiohttp.ClientResponse:
        assert self._stream is not None, "the stream is not open"
        return self._stream.response

    @property
    def cursor(self) -> str:
        return self._stream.parser.last_event_id if self._stream is not None else ""

    @property
    def heartbeats(self) -> int:
        return self._stream.parser.comments if self._stream is not None else 0

    @property
    def is_settled(self) -> bool:
        """It has begun (the head alone does not say that the way is free), or there will be none."""
        return self.first_byte_at is not None or self.refused is not None or self.end is not None

    @property
    def types(self) -> list[str]:
        return [arrival.event.type for arrival in self.arrivals]

    async def __aenter__(self) -> Self:
        self.asked_at = now()
        self._task = asyncio.create_task(self._watch(), name="doctor-watch")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.leave()

    async def leave(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._stream is not None:
            self._stream.close()

    async def _watch(self) -> None:
        try:
            self._stream = await open_stream(self._session, self._url, self._headers, last_event_id=self._cursor)
            self.opened_at = now()
            await self._read(self._stream)
        except (GatewayError, Unavailable) as error:
            if self.opened_at is None:
                self.refused = error
            else:
                self.end = End(now(), str(error), whole=False)

    async def _read(self, stream: HttpStream) -> None:
        while (events := await stream.read()) is not None:
            self.last_byte_at = at = now()
            self.first_byte_at = self.first_byte_at or at
            self.arrivals += [Arrival(at, event) for event in events]
        self.end = End(now(), "the stream was ended", whole=True)
