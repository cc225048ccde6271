"""Through the real nginx with the shipped site: no request hides in another, whichever of the two misreads it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from hostile.wire_requests import EVENT, PUBLISHED
from nginx import NginxServer, needs_nginx
from servers import HOST
from streams import Stream
from web.inprocess import Served, nothing_published, served

pytestmark = needs_nginx

METRICS = b"GET /metrics HTTP/1.1\r\nHost: g\r\n\r\n"
HIDDEN = {"a publish": PUBLISHED, "an operator's question": METRICS}
FRONTS = {"a stream": b"?user=alice", "a request that is refused": b""}
"""The gateway keeps the connection of the second: what is left on it would be the next client's."""
LISTENS = 1.0
VICTIMS = 20


def attempts(hidden: bytes) -> dict[str, tuple[bytes, bytes]]:
    """Fields and body of the request in front: by one reading of them, `hidden` is a request of its own."""
    ended = b"0\r\n\r\n" + hidden
    chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(hidden), hidden)
    length = b"Content-Length: %d\r\n"
    chunked = b"Transfer-Encoding: chunked\r\n"
    whole, four = length % len(ended), b"Content-Length: 4\r\n"
    return {
        "CL.TE": (whole + chunked, ended),
        "TE.CL": (chunked + four, chunk),
        "CL.TE, HTTP's other order": (chunked + whole, ended),
        "TE.TE, unknown last": (chunked + b"Transfer-Encoding: x\r\n" + whole, ended),
        "TE.TE, unknown first": (b"Transfer-Encoding: x\r\n" + chunked + whole, ended),
        "TE in capitals": (b"TRANSFER-ENCODING: CHUNKED\r\n" + whole, ended),
        "TE with a space before the colon": (b"Transfer-Encoding : chunked\r\n" + whole, ended),
        "TE with a tab": (b"Transfer-Encoding:\tchunked\r\n" + whole, ended),
        "TE with a VT": (b"Transfer-Encoding: \x0bchunked\r\n" + whole, ended),
        "TE in quotes": (b'Transfer-Encoding: "chunked"\r\n' + whole, ended),
        "TE folded": (b"Transfer-Encoding:\r\n chunked\r\n" + whole, ended),
        "TE after a fold": (b"X: y\r\n Transfer-Encoding: chunked\r\n" + whole, ended),
        "TE after a bare LF": (b"X: y\nTransfer-Encoding: chunked\r\n" + whole, ended),
        "TE after a bare CR": (b"X: y\rTransfer-Encoding: chunked\r\n" + whole, ended),
        "TE with an underscore": (b"Transfer_Encoding: chunked\r\n" + whole, ended),
        "TE with a NUL": (b"Transfer-Encoding: chunked\0\r\n" + whole, ended),
        "CL with an underscore": (b"Content_Length: %d\r\n" % len(hidden), hidden),
        "CL with a space before the colon": (b"Content-Length : %d\r\n" % len(hidden), hidden),
        "CL of nothing": (b"Content-Length: 0\r\n", hidden),
        "CL twice, none first": (b"Content-Length: 0\r\n" + length % len(hidden), hidden),
        "CL twice, none last": (length % len(hidden) + b"Content-Length: 0\r\n", hidden),
        "CL with a sign": (b"Content-Length: +0\r\n", hidden),
        "CL with a list": (b"Content-Length: 0, %d\r\n" % len(hidden), hidden),
        "no length at all": (b"", hidden),
        "an honest length": (length % len(hidden), hidden),
        "an honest chunk": (chunked, chunk),
        "a chunk's extension with a bare LF": (chunked, b"1;\nx\r\n" + ended),
        "a chunk's size that overflows": (chunked, b"10000000000000000\r\n" + ended),
        "a trailer": (chunked, b"0\r\nX: y\r\n\r\n" + hidden),
        "an upgrade to HTTP/2": (b"Connection: Upgrade\r\nUpgrade: h2c\r\n", hidden),
        "an upgrade to WebSocket": (
            b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            hidden,
        ),
        "an expectation": (b"Expect: 100-continue\r\n" + length % len(hidden), hidden),
        "a field that the connection eats": (b"Connection: Content-Length\r\n" + length % len(hidden), hidden),
    }


@pytest_asyncio.fixture
async def gateway() -> AsyncIterator[Served]:
    """In development mode: a publish that reaches it is taken."""
    async with served(max_connections_per_user=0) as running:
        yield running


@pytest_asyncio.fixture
async def nginx(gateway: Served) -> AsyncIterator[NginxServer]:
    async with NginxServer(gateway.port, workers=1) as running:
        yield running


async def answers(port: int, request: bytes) -> bytes:
    """What comes back until nginx closes, or for as long as it takes a second request to be answered."""
    reader, writer = await asyncio.open_connection(HOST, port)
    got = b""
    with contextlib.suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout(LISTENS):
            writer.write(request)
            while read := await reader.read(65_536):
                got += read
    writer.close()
    return got


@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize("what", HIDDEN)
async def test_a_hidden_request_reaches_nobody(gateway: Served, nginx: NginxServer, front: str, what: str) -> None:
    """It is not carried out, its answer is not given, and no other client gets an answer that is not its own."""
    head = b"GET /v1/events" + FRONTS[front] + b" HTTP/1.1\r\nHost: g\r\n"
    requests = {name: head + fields + b"\r\n" + body for name, (fields, body) in attempts(HIDDEN[what]).items()}
    async with nothing_published(gateway):
        given = await asyncio.gather(*(answers(nginx.port, request) for request in requests.values()))
        for name, answer in zip(requests, given, strict=True):
            assert b" 202 " not in answer, name
            assert b"gateway_connections" not in answer, name
            assert b" 500 " not in answer, name
        async with Stream(nginx.url, "user=victim") as victim:
            for _ in range(VICTIMS):
                async with gateway.http.get(f"{nginx.url}/v1/events") as response:
                    assert response.status == 401
                    assert response.content_type == "application/problem+json"
            assert await victim.position()
    assert EVENT not in b"".join(given)


async def test_what_is_hidden_would_be_carried_out(gateway: Served) -> None:
    """The gateway itself, asked directly, takes the same bytes as a second request: nginx is what has to agree."""
    async with gateway.wire() as (reader, writer):
        writer.write(b"GET /v1/events HTTP/1.1\r\nHost: g\r\nContent-Length: 0\r\n\r\n" + PUBLISHED + METRICS)
        for status in (b"401", b"202", b"200"):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.split()[1] == status
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
            await reader.readexactly(int(length.split()[1]))


async def test_a_header_that_only_proxies_may_set_is_not_a_clients() -> None:
    """However it is spelled, what a client says of its own user or address does not reach the gateway."""
    spellings = [
        b"X-User-Id",
        b"x-user-id",
        b"X_User_Id",
        b"X-User_Id",
        b"X-User-Id ",
        b"X-Forwarded-For",
        b"X_Forwarded_For",
    ]
    seen: list[dict[str, str]] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        seen.append(dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line))
        writer.write(b"HTTP/1.1 401 no\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(note, HOST, 0)
    async with server, NginxServer(server.sockets[0].getsockname()[1]) as behind:
        for name in spellings:
            request = b"GET /v1/events HTTP/1.1\r\nHost: g\r\nConnection: close\r\n%b: mallory\r\n\r\n" % name
            await answers(behind.port, request)
    assert len(seen) == len(spellings) - 1  # a space before the colon is not passed on at all
    for fields in seen:
        assert "mallory" not in fields.values()
        assert fields["X-Forwarded-For"] == HOST
