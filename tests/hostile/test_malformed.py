"""Requests that are none are refused or dropped: nothing is published, and nobody else notices."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from hostile.wire_requests import AFTER_A_STREAM, LEGAL, MALFORMED
from servers import HOST, until
from streams import Stream
from web.inprocess import Served, nothing_published, served

_STATUS = re.compile(rb"HTTP/\d\.\d (\d{3}) ")


@pytest_asyncio.fixture
async def gateway() -> AsyncIterator[Served]:
    """With a bystander on a stream, who must not notice anything."""
    async with served() as running, Stream(running.url, "user=bystander") as bystander:
        yield running
        await running.publish("bystander", "still.here")
        await bystander.next_of("still.here")
        assert bystander.types == ["still.here"]
        async with running.http.get("/livez") as response:
            assert response.status == 200
        assert len(running.gateway.hub.connections) == 1


async def sent(gateway: Served, data: bytes, *, answers: int = 1) -> list[str]:
    """The statuses of the answers to these bytes, as far as there are any; the connection is ended after them."""
    got = b""
    reader, writer = await asyncio.open_connection(HOST, gateway.port)
    writer.write(data)
    if answers == 0:
        writer.write_eof()
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(10):
            while (read := await reader.read(65_536)) or not answers:
                got += read
                if not read or (answers and len(_STATUS.findall(got)) >= answers):
                    break
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return [status.decode() for status in _STATUS.findall(got)]


@pytest.mark.parametrize("name", MALFORMED)
async def test_malformed(gateway: Served, name: str) -> None:
    """A 4xx, or a closed connection; never an event."""
    async with nothing_published(gateway):
        statuses = await sent(gateway, MALFORMED[name], answers=0 if name == "a body cut off" else 1)
        assert all(status.startswith("4") for status in statuses)
        await until(lambda: len(gateway.gateway.hub.connections) == 1, what="nobody but the bystander is connected")


@pytest.mark.parametrize("name", LEGAL)
async def test_odd_but_legal(gateway: Served, name: str) -> None:
    """What HTTP allows is answered as it asks, each request once, in order."""
    data, statuses, publishes = LEGAL[name]
    before = await gateway.gateway.relay.broker.tip()
    assert await sent(gateway, data, answers=len(statuses)) == statuses
    assert (await gateway.gateway.relay.broker.tip() > before) is publishes


async def test_nothing_follows_the_request_for_a_stream(gateway: Served) -> None:
    """A request sent after it on the same connection is not carried out, at once or later."""
    async with nothing_published(gateway), gateway.wire() as (reader, writer):
        writer.write(AFTER_A_STREAM)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        writer.write(AFTER_A_STREAM * 20)
        await writer.drain()
        assert b"retry: " in await reader.readuntil(b"\n\n")
    await until(lambda: len(gateway.gateway.hub.connections) == 1, what="the stream has ended")


async def test_a_storm_of_malformed_requests(gateway: Served) -> None:
    """A thousand at once, of all kinds: each is answered or closed."""
    kinds = [data for name, data in MALFORMED.items() if len(data) < 30_000 and name != "a body cut off"]
    async with nothing_published(gateway):
        for start in range(0, 1000, 100):
            wanted = [kinds[number % len(kinds)] for number in range(start, start + 100)]
            for statuses in await asyncio.gather(*(sent(gateway, data) for data in wanted)):
                assert all(status.startswith("4") for status in statuses)
