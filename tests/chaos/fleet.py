"""Many clients in one process, cheap enough to judge a gateway that is under load.

Each speaks HTTP over a bare asyncio protocol, keeps the ids it was given as a browser does (a block that did not end
does not count), comes back with `Last-Event-ID` after whatever ended its stream, and writes down every event.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

RETRY_WITHIN = 0.5
RECEIVE_BUFFER = 65_536


@dataclass(slots=True)
class Received:
    """What one client got over all its connections: (channel, sequence number), and what the gateway told it."""

    events: list[tuple[str, int]] = field(default_factory=list)
    told: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    refused: Counter[int] = field(default_factory=Counter)
    opened: int = 0
    cut_inside_a_block: int = 0


class Client:
    """One subscriber. `url` is called for each connection, so that a fleet can spread over gateways."""

    def __init__(self, url: Callable[[], str], path: str, token: str) -> None:
        self.received = Received()
        self.last_event_id = ""
        self.closed_at: float | None = None
        self._url = url
        self._path = path
        self._token = token
        self._wire: _Wire | None = None
        self._task: asyncio.Task[None] | None = None
        self._stalled = False

    @property
    def connected(self) -> bool:
        return self._wire is not None and self._wire.positioned

    def start(self) -> None:
        self._task = asyncio.create_task(self._stay())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self.drop()

    def drop(self) -> None:
        """Leave without a word; `start`ed clients come back."""
        if self._wire is not None and self._wire.transport is not None:
            self._wire.transport.abort()

    def stall(self) -> None:
        self._stalled = True
        if self._wire is not None and self._wire.transport is not None:
            self._wire.transport.pause_reading()

    def read_on(self) -> None:
        self._stalled = False
        if self._wire is not None and self._wire.transport is not None:
            self._wire.transport.resume_reading()

    async def _stay(self) -> None:
        while True:
            wire = None
            try:
                wire = await self._connect()
                await wire.ended
            except OSError:
                pass
            finally:
                self._wire = None
                if wire is not None and wire.transport is not None:
                    wire.transport.abort()
            self.closed_at = time.monotonic()
            await asyncio.sleep(random.uniform(0, RETRY_WITHIN))

    async def _connect(self) -> _Wire:
        address = urlsplit(self._url())
        lines = [f"GET {self._path} HTTP/1.1", f"Host: {address.netloc}", "Accept: text/event-stream"]
        lines += [f"Authorization: Bearer {self._token}"]
        lines += [f"Last-Event-ID: {self.last_event_id}"] if self.last_event_id else []
        request = "\r\n".join([*lines, "", ""]).encode()
        loop = asyncio.get_running_loop()
        host, port = address.hostname or "", address.port or 80
        _, wire = await loop.create_connection(lambda: _Wire(self, request), host, port)
        self._wire = wire
        if self._stalled and wire.transport is not None:
            wire.transport.pause_reading()
        return wire

    def take(self, block: bytes) -> None:
        """One whole block of the stream; chunk headers between its lines are passed over."""
        id = kind = data = b""
        for line in block.split(b"\n"):
            if line.startswith(b"id: "):
                id = line[4:]
            elif line.startswith(b"event: "):
                kind = line[7:]
            elif line.startswith(b"data: "):
                data = line[6:]
        if id:
            self.last_event_id = id.decode()
        if kind.startswith(b"gateway."):
            self.received.told[kind.decode()] += 1
        elif kind:
            body = json.loads(data)
            self.received.events.append((body["c"], body["s"]))
            self.received.latencies.append(time.time() - body["t"])


class _Wire(asyncio.Protocol):
    def __init__(self, client: Client, request: bytes) -> None:
        self.transport: asyncio.Transport | None = None
        self.positioned = False
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._client = client
        self._request = request
        self._rest = b""
        self._in_head = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        if self._in_head:
            head, separator, data = data.partition(b"\r\n\r\n")
            if not separator:
                self._rest = head
                return
            self._in_head = False
            status = int(head[9:12])
            if status != 200:
                self._client.received.refused[status] += 1
                assert self.transport is not None
                self.transport.abort()
                return
            self._client.received.opened += 1
        *blocks, self._rest = data.split(b"\n\n")
        for block in blocks:
            self._client.take(block)
        if not self.positioned and self._client.last_event_id:
            self.positioned = True

    def connection_lost(self, exc: Exception | None) -> None:
        if b"data: " in self._rest or b"event: " in self._rest:
            self._client.received.cut_inside_a_block += 1
        if not self.ended.done():
            self.ended.set_result(None)


class Fleet:
    """`async with Fleet(clients) as fleet:` — all connected and positioned when the body runs."""

    def __init__(self, clients: Sequence[Client]) -> None:
        self.clients = clients

    async def __aenter__(self) -> Fleet:
        for start in range(0, len(self.clients), 100):
            for client in self.clients[start : start + 100]:
                client.start()
            await self.settled(self.clients[start : start + 100])
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(client.stop() for client in self.clients))

    async def settled(self, clients: Sequence[Client] | None = None, *, within: float = 60) -> None:
        """Every client is connected and has its position."""
        deadline = time.monotonic() + within
        while away := [c for c in clients or self.clients if not c.connected]:
            assert time.monotonic() < deadline, f"{len(away)} clients not connected: {away[0].received}"
            await asyncio.sleep(0.02)
