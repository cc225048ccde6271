"""The same characters in what a request says besides its body: headers, query, and what is told back of it."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest
from hostile.poison import FORGED, POISONS, UNREADABLE, forgery
from web.inprocess import Served, served

from gateway.event_stream import EventStreamParser

WORDS = {name: forgery(poison).encode() for name, poison in POISONS.items()} | {
    name: b"a" + raw + forgery("\n").encode() for name, raw in UNREADABLE.items()
}
HEADERS = ["Last-Event-ID", "Idempotency-Key", "Authorization", "Cookie", "Accept", "Origin", "X-Forwarded-For", "Host"]
PARAMETERS = ["types", "topic", "last_event_id", "user", FORGED]


def requests(word: bytes) -> Iterator[tuple[str, bytes]]:
    """Requests for a stream, the word in one place of each."""
    for header in HEADERS:
        yield header, _get(b"user=alice", header.encode() + b": " + word)
    for parameter in PARAMETERS:
        user = b"" if parameter == "user" else b"user=alice&"
        for how, value in (("", quote(word, safe="").encode()), ("raw ", word)):
            yield f"{how}{parameter}=", _get(user + parameter.encode() + b"=" + value)


def _get(query: bytes, header: bytes = b"X: y") -> bytes:
    host = b"" if header.startswith(b"Host") else b"Host: gateway\r\n"
    return b"GET /v1/events?" + query + b" HTTP/1.1\r\n" + host + header + b"\r\n\r\n"


async def answer(gateway: Served, request: bytes) -> tuple[bytes, bytes]:
    """The head, and the body up to an event that is published then."""
    async with gateway.wire() as (reader, writer):
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head.split(b"\r\n")[0]:
            return head, b""
        for user in ("alice", "a"):
            await gateway.publish(user, "marked")
        return head, await reader.readuntil(b"event: marked\n")


@pytest.mark.parametrize("word", WORDS)
async def test_a_request_for_a_stream(word: str) -> None:
    """No 500; no header of the answer and no line of the stream is the client's own."""
    async with served() as gateway:
        for place, request in requests(WORDS[word]):
            head, body = await answer(gateway, request)
            assert head.split(b" ")[1] in (b"200", b"400", b"401", b"404"), f"{place}: {head!r}"
            assert not [line for line in head.split(b"\r\n") if line.lower().startswith((b"event:", b"data:", b"id:"))]
            parser = EventStreamParser()
            events = parser.feed(_dechunked(body))
            assert {event.type for event in events} <= {"gateway.gap"}, place
            assert parser.ignored == []
            assert parser.last_event_id != "9-9"
            assert parser.retry != 1


@pytest.mark.parametrize("word", WORDS)
async def test_an_idempotency_key(word: str) -> None:
    """It is printable ASCII, or the publish is refused; what comes after a line end is another header, or nothing."""
    body = b'{"event_type":"x","data":1}'
    head = b"POST /v1/users/alice/events HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"
    async with served() as gateway, gateway.wire() as (reader, writer):
        key = WORDS[word].split(b"\r\n")[0]
        writer.write(head + b"Content-Length: %d\r\nIdempotency-Key: %b\r\n\r\n" % (len(body), key) + body)
        status = (await reader.readline()).split()[1]
        assert status == (b"202" if key == b"a" else b"400")


def _dechunked(body: bytes) -> bytes:
    """As far as it goes: sizes are told from text by the line ends, which the stream's lines do not have."""
    parts = body.split(b"\r\n")
    return b"".join(parts[1::2])
