"""A stream whose headers are out belongs to the gateway alone: nothing of aiohttp's is left, and it ends whole."""

from __future__ import annotations

import asyncio
import gc
import socket

from aiohttp import web
from aiohttp_sse import EventSourceResponse
from servers import HOST, until
from web.inprocess import Served, closed_because, served

REQUEST = b"GET /v1/events?user=alice HTTP/1.1\r\nHost: x\r\n\r\n"


def tasks_of(*classes: str) -> list[str]:
    named = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
    return [name for name in named if name.partition(".")[0] in classes]


async def test_an_idle_stream_has_no_task_and_no_request(gateway: Served) -> None:
    """What aiohttp needed for the request is gone, without waiting for the garbage collector."""
    gc.collect()
    gc.disable()
    try:
        async with gateway.wire() as (reader, writer):
            writer.write(REQUEST)
            await reader.readuntil(b"id: ")
            await until(lambda: not tasks_of("RequestHandler", "Guide"))
            kinds = (web.Request, EventSourceResponse, web.RequestHandler)
            assert not [thing for thing in gc.get_objects() if isinstance(thing, kinds)]
            assert len(gateway.gateway.hub.connections) == 1
    finally:
        gc.enable()


async def test_what_a_client_says_later_is_ignored(gateway: Served) -> None:
    """Requests behind the first one, with it or after it, and rubbish: the stream goes on."""
    async with gateway.wire() as (reader, writer):
        writer.write(REQUEST + b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"id: ")
        writer.write(REQUEST + b"\0rubbish" * 10_000)
        await writer.drain()
        id = await gateway.publish("alice", "greeting")
        said = await reader.readuntil(b"event: greeting\n")
        assert id.encode() in said
        assert b"HTTP/" not in said
    await until(lambda: closed_because(gateway, "client_left") == 1)


async def test_a_client_that_says_no_more_has_left(gateway: Served) -> None:
    """A half-closed connection is closed, as aiohttp does it."""
    async with gateway.wire() as (reader, writer):
        writer.write(REQUEST)
        await reader.readuntil(b"id: ")
        writer.write_eof()
        await reader.read()
        await until(lambda: closed_because(gateway, "client_left") == 1)


async def test_the_process_ends_its_streams_whole() -> None:
    """aiohttp does not know of them, so at shutdown the gateway closes them, and waits for their last bytes."""
    async with served() as gateway:
        reader, writer = await asyncio.open_connection(HOST, gateway.port)
        writer.write(REQUEST)
        await reader.readuntil(b"id: ")
        await gateway.app.shutdown()
        assert (await reader.read()).endswith(b"0\r\n\r\n")
        writer.close()
        assert closed_because(gateway, "draining") == 1
        assert not gateway.gateway.ending


async def test_nobody_waits_for_a_stalled_client_at_the_end() -> None:
    """Who takes nothing is cut off when the time for last bytes is over."""
    async with served(max_event_bytes=20_000, max_buffer_bytes=40_000) as gateway:
        with socket.create_connection((HOST, gateway.port)) as stalled:
            stalled.sendall(REQUEST)
            await until(lambda: len(gateway.gateway.hub.connections) == 1)
            batch = [{"event_type": "x", "data": "a" * 15_000}] * 40
            for _ in range(20):
                async with gateway.http.post("/v1/users/alice/events", json=batch) as response:
                    assert response.status == 202
            async with asyncio.timeout(3):
                await gateway.app.shutdown()
            await until(lambda: not gateway.gateway.ending)
