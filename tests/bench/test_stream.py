"""A bench's stream, against servers that answer what they were told to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from servers import HOST, free_port, until

from gateway.bench import stream as module
from gateway.bench.plan import Address
from gateway.bench.stream import NotOpened, Stream, open_stream
from gateway.bench.wire import Item, Tick
from gateway.frames import chunk, event_frame

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
TICK = chunk(event_frame("bench.tick", b'{"run":"r","n":1}'))


@asynccontextmanager
async def answering(*pieces: bytes, stays: bool = False) -> AsyncIterator[Address]:
    """A server that sends these one by one, then closes, or stays until the body has run."""
    done = asyncio.Event()
    serving: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read(65_536)
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.01)  # so that each piece is read by itself
            if stays:
                await done.wait()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.append(asyncio.create_task(serve(reader, writer)))

    server = await asyncio.start_server(accept, HOST, 0)
    try:
        yield Address(f"http://{HOST}:{server.sockets[0].getsockname()[1]}")
    finally:
        done.set()
        server.close()
        await asyncio.gather(*serving)


def stream() -> Stream:
    return Stream(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "r", {})


async def refusal(address: Address) -> tuple[str, int | None]:
    with pytest.raises(NotOpened) as caught:
        await open_stream(stream(), address, None)
    return str(caught.value), caught.value.status


async def test_events_arrive() -> None:
    """What follows the head is read, in the same bytes or later, and the end is told once."""
    got: list[Item] = []
    ends: list[None] = []

    def take(items: Sequence[Item], now: float) -> None:
        got.extend(items)

    async with answering(HEAD + TICK, TICK[:9], TICK[9:]) as address:
        opened = stream()
        opened.take = take
        opened.ended = lambda: ends.append(None)
        await open_stream(opened, address, None)
        await until(lambda: ends, what="the end is told")
    assert got == [Tick(1, None)] * 2
    assert ends == [None]


@pytest.mark.parametrize("body", [b"0\r\n\r\n", b"no chunk\r\n"])
async def test_it_leaves_where_the_stream_ends(body: bytes) -> None:
    """A body that has ended, or is none, ends the stream though the connection stays."""
    ended = asyncio.Event()
    async with answering(HEAD, body, stays=True) as address:
        opened = stream()
        opened.ended = ended.set
        await open_stream(opened, address, None)
        async with asyncio.timeout(5):
            await ended.wait()


@pytest.mark.parametrize(
    ("head", "body", "said", "status"),
    [
        ("404 Not Found\r\nContent-Type: text/html", "<h1>", "404 text/html, not an event stream", 404),
        ("200 OK\r\nContent-Type: text/html; charset=utf-8", "<h1>", "200 text/html, not an event stream", 200),
        ("302 Found\r\nLocation: /login", "", "302 without a content type, not an event stream", 302),
        (
            "503 x\r\ncontent-type: application/problem+json",
            '{"title": "No room", "detail": "max_connections"}',
            "503 No room: max_connections",
            503,
        ),
        ("401 x\r\nContent-Type: application/problem+json", '{"title": "a\\nb"}', "401 a b", 401),
        (
            "401 x\r\nContent-Type: application/problem+json",
            "[]",
            "401 application/problem+json, not an event stream",
            401,
        ),
    ],
)
async def test_no_stream(head: str, body: str, said: str, status: int) -> None:
    """An answer that is no stream is told in one line, with what the problem in it says."""
    answer = f"HTTP/1.1 {head}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    async with answering(answer, body.encode(), stays=True) as address:
        assert await refusal(address) == (said, status)


async def test_no_stream_without_a_length() -> None:
    """A refusal that does not say how long it is is not waited for."""
    async with answering(b"HTTP/1.1 502 Bad Gateway\r\n\r\n", stays=True) as address:
        assert await refusal(address) == ("502 without a content type, not an event stream", 502)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "the connection was closed without an answer"),
        (b"SSH-2.0-x\r\n\r\n", "what answers does not speak HTTP"),
        (b"SSH-2.0-x\r\n", "what answers does not speak HTTP"),
        (b"x" * 70_000, "what answers does not speak HTTP"),
    ],
)
async def test_no_http(answer: bytes, said: str) -> None:
    """What does not speak HTTP is told as such."""
    async with answering(answer) as address:
        assert await refusal(address) == (said, None)


async def test_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not answer is given up."""
    monkeypatch.setattr(module, "OPEN_WITHIN", 0.1)
    async with answering(stays=True) as address:
        assert await refusal(address) == ("no answer within 0.1 s", None)


@pytest.mark.parametrize("host", [HOST, "localhost"])
async def test_nobody_there(host: str) -> None:
    """When nothing listens, the reason is in a few words."""
    assert await refusal(Address(f"http://{host}:{free_port()}")) == ("cannot connect (Connection refused)", None)


async def test_no_tls() -> None:
    """A server without TLS is no https:// address."""
    async with answering(b"x\r\n") as plain:
        address = Address(plain.base.replace("http://", "https://"))
        with pytest.raises(NotOpened, match=r"cannot connect|certificate"):
            await open_stream(stream(), address, address.tls())
