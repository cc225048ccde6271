"""Connections on which no request is under way: who is let go, when, and who is not."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from servers import HOST, until
from streams import Stream
from structlog.testing import capture_logs
from web.inprocess import Served, served

from gateway.web import arrivals
from gateway.web.overload import DESCRIPTORS_BESIDES

Wire = tuple[asyncio.StreamReader, asyncio.StreamWriter]

SHORT: dict[str, Any] = {"header_timeout": 0.3, "keepalive_timeout": 60}
LIVEZ = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"


def dropped(served: Served, reason: str) -> float:
    labels = {"reason": reason}
    return served.gateway.metrics.registry.get_sample_value("gateway_connections_dropped_total", labels) or 0


def waiting(served: Served, room: str) -> float | None:
    return served.gateway.metrics.registry.get_sample_value("gateway_connections_waiting", {"room": room})


@asynccontextmanager
async def wires(served: Served, count: int) -> AsyncIterator[list[Wire]]:
    """So many bare connections, in the order in which the gateway accepted them."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(served.wire()) for _ in range(count)]


async def status(wire: Wire) -> int:
    """The status of the next answer; its body is read too."""
    head = await wire[0].readuntil(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.decode().splitlines() if line.startswith("Content-Length: "))
    await wire[0].readexactly(length)
    return int(head.split()[1])


async def time_is_up(served: Served) -> None:
    """Returns when a connection that was opened now, and never sent anything, has been let go."""
    async with served.wire() as (reader, _):
        assert await reader.read() == b""


async def test_whoever_never_sends_is_let_go() -> None:
    """Without a word: there is nobody who has asked."""
    async with served(**SHORT) as gateway, wires(gateway, 5) as silent:
        with capture_logs() as lines:
            assert [await reader.read() for reader, _ in silent] == [b""] * 5
        assert dropped(gateway, "header_timeout") == 5
        assert {(line["event"], line["reason"], line["peer"]) for line in lines} == {
            ("connection.dropped", "header_timeout", "127.0.0.1")
        }


@pytest.mark.parametrize("before", [b"", LIVEZ], ids=["first request", "second request"])
async def test_a_byte_now_and_then_is_not_enough(before: bytes) -> None:
    """Slowloris: the time is that of the whole head, however many pieces it comes in; and the client is told."""
    async with served(**SHORT) as gateway, gateway.wire() as (reader, writer):
        if before:
            writer.write(before)
            assert await status((reader, writer)) == 200

        async def trickle() -> None:
            writer.write(b"GET /livez HTTP/1.1\r\n")
            while True:
                writer.write(b"X-A: b\r\n")
                await asyncio.sleep(0.02)

        trickling = asyncio.create_task(trickle())
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        finally:
            trickling.cancel()
        assert head.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert b"Connection: close" in head
        assert b"X-Content-Type-Options: nosniff" in head
        assert b"Server: event-gateway\r\n" in head
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        problem = json.loads(await reader.readexactly(length))
        assert problem["type"] == "urn:event-gateway:problem:request-timeout"
        assert "GATEWAY_HEADER_TIMEOUT" in problem["detail"]
        assert dropped(gateway, "header_timeout") == 1


async def test_a_connection_that_is_kept_is_not_let_go() -> None:
    """Publishers keep their connections: the time of a head begins with its first byte."""
    async with served(**SHORT) as gateway, gateway.wire() as kept:
        for _ in range(3):
            kept[1].write(LIVEZ)
            assert await status(kept) == 200
            await time_is_up(gateway)
        assert dropped(gateway, "header_timeout") == 3


async def test_a_kept_connection_has_an_end_too() -> None:
    """GATEWAY_KEEPALIVE_TIMEOUT after its last answer it is closed, which is no line in the log."""
    async with served(keepalive_timeout=0.2) as gateway, gateway.wire() as (reader, writer):
        writer.write(LIVEZ)
        assert await status((reader, writer)) == 200
        with capture_logs() as lines:
            assert await reader.read() == b""
        assert dropped(gateway, "keepalive_timeout") == 1
        assert lines == []


async def test_a_request_under_way_is_not_let_go() -> None:
    """A body has a time of its own, and requests that came together are answered in turn."""
    async with served(header_timeout=0.2, keepalive_timeout=0.2) as gateway, gateway.wire() as (reader, writer):
        body = json.dumps({"event_type": "x", "data": 1}).encode()
        head = b"POST /v1/broadcast HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        writer.write(LIVEZ + head % len(body) + body[:5])
        assert await status((reader, writer)) == 200
        for _ in range(3):
            await time_is_up(gateway)
        writer.write(body[5:] + LIVEZ)
        assert await status((reader, writer)) == 202
        assert await status((reader, writer)) == 200


async def test_a_stream_is_in_no_waiting_room() -> None:
    """It stays, silent as its client is."""
    settings = {"header_timeout": 0.1, "keepalive_timeout": 0.1}
    async with served(**settings) as gateway, Stream(gateway.url, "user=alice") as stream:
        for _ in range(3):
            await time_is_up(gateway)
        await gateway.publish("alice", "still.here")
        assert (await stream.next()).type == "still.here"


async def test_a_body_that_does_not_come() -> None:
    """408 after GATEWAY_BODY_TIMEOUT, and the connection ends: what still comes is no request."""
    async with served(body_timeout=0.2) as gateway, gateway.wire() as (reader, writer):
        head = b"POST /v1/broadcast HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n"
        writer.write(head + b'{"event_type":')
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408 ")
        assert b"Connection: close" in head
        assert b"GATEWAY_BODY_TIMEOUT" in await reader.readuntil(b"}")
        writer.write_eof()
        assert await reader.read() == b""


async def test_of_too_many_that_have_not_asked_the_oldest_goes() -> None:
    """The limit is exact, and whoever asks at once gets in past any number of those who don't."""
    async with served(max_pending_connections=10, header_timeout=60) as gateway, wires(gateway, 25) as silent:
        await until(lambda: dropped(gateway, "max_pending_connections") == 15)
        assert waiting(gateway, "pending") == 10
        assert [await reader.read() for reader, _ in silent[:15]] == [b""] * 15
        for wire in silent[15:]:
            wire[1].write(LIVEZ)
            assert await status(wire) == 200
        assert dropped(gateway, "max_pending_connections") == 15
        assert (waiting(gateway, "pending"), waiting(gateway, "idle")) == (0, 10)


async def test_of_too_many_that_are_kept_the_oldest_goes() -> None:
    """The one whose last answer is longest ago."""
    async with served(max_idle_connections=3) as gateway, wires(gateway, 4) as kept:
        for wire in (*kept[:3], kept[0], kept[3]):
            wire[1].write(LIVEZ)
            assert await status(wire) == 200
        assert await kept[1][0].read() == b""
        for wire in (kept[0], *kept[2:]):
            wire[1].write(LIVEZ)
            assert await status(wire) == 200
        assert dropped(gateway, "max_idle_connections") == 1


async def test_a_head_without_end() -> None:
    """Of a head that is not whole no more is kept than GATEWAY_MAX_HEAD_BYTES, in whatever pieces it comes."""
    async with served(max_head_bytes=20_000) as gateway, gateway.wire() as (reader, writer):
        writer.write(b"GET /livez HTTP/1.1\r\n")
        for number in range(60):
            writer.write(b"X-%d: %s\r\n" % (number, b"a" * 500))
            await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
        assert b"GATEWAY_MAX_HEAD_BYTES" in await reader.readuntil(b"}")
        assert dropped(gateway, "max_head_bytes") == 1


async def test_whoever_reads_no_answers_is_let_go() -> None:
    """A client that asks and asks, and takes nothing, is cut off after GATEWAY_SEND_TIMEOUT."""

    def ask_and_ask(port: int) -> None:
        with socket.create_connection((HOST, port)) as deaf:
            while True:  # until nobody takes it any more, and then until the connection is gone
                deaf.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 50)

    async with served(send_timeout=0.5) as gateway:
        with pytest.raises(ConnectionError):
            async with asyncio.timeout(20):
                await asyncio.to_thread(ask_and_ask, gateway.port)


async def test_descriptors_do_not_run_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits longest makes room, first of those who have been served: probes and publishers still get in."""
    with socket.socket() as probe:
        most = probe.fileno() + 60  # each connection takes two: this process is the client too
    monkeypatch.setattr(arrivals, "descriptors", lambda: most + DESCRIPTORS_BESIDES // 2)
    async with served() as gateway, wires(gateway, 2) as kept:
        for wire in kept:
            wire[1].write(LIVEZ)
            assert await status(wire) == 200
        async with wires(gateway, 60) as silent:
            assert [await reader.read() for reader, _ in (*kept, silent[0])] == [b""] * 3
            silent[-1][1].write(LIVEZ)
            assert await status(silent[-1]) == 200
            assert dropped(gateway, "descriptors") > 3
