"""Publishers' answers: ready-made, and yet what aiohttp would have sent."""

from __future__ import annotations

import asyncio
import json
from email.utils import parsedate_to_datetime
from time import time

import pytest
from aiohttp import HttpVersion10, web
from aiohttp.test_utils import make_mocked_request
from web.inprocess import Served, kept

from gateway.broker.base import Receipt
from gateway.ids import EventId
from gateway.web.answers import taken

BODY = json.dumps({"event_type": "x", "data": 1}).encode()
RECEIPTS = [Receipt(EventId(1764000000000, 7), 2), Receipt(None, 0)]


def request(version: str = "1.1", connection: str = "") -> bytes:
    head = f"POST /v1/users/alice/events HTTP/{version}\r\nHost: x\r\nContent-Type: application/json\r\n{connection}"
    return head.encode() + b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)


async def answer(reader: asyncio.StreamReader) -> tuple[bytes, dict[str, str], dict[str, object]]:
    """The status line, the headers and the body of the next answer."""
    lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[:-2]
    headers = dict(line.decode().split(": ", 1) for line in lines[1:])
    return lines[0], headers, json.loads(await reader.readexactly(int(headers["Content-Length"])))


async def test_the_headers_are_those_of_any_answer(gateway: Served) -> None:
    """Made ready or by aiohttp, which ends the connection: status, headers and body are the same."""
    async with gateway.wire() as (reader, writer):
        writer.write(request())
        ready = await answer(reader)
        writer.write(request(connection="Connection: close\r\n"))
        by_aiohttp = await answer(reader)
        assert await reader.read() == b""
    assert ready[0] == by_aiohttp[0] == b"HTTP/1.1 202 Accepted"
    assert by_aiohttp[1].pop("Connection") == "close"
    dates = [parsedate_to_datetime(headers.pop("Date")).timestamp() for _, headers, _ in (ready, by_aiohttp)]
    assert all(abs(date - time()) < 60 for date in dates)
    made = [headers.pop("X-Request-Id") for _, headers, _ in (ready, by_aiohttp)]
    assert made[0] != made[1]
    assert ready[1] == by_aiohttp[1]
    assert ready[2].keys() == by_aiohttp[2].keys() == {"id", "receivers"}


@pytest.mark.parametrize(("connection", "stays"), [("", False), ("Connection: keep-alive\r\n", True)])
async def test_http_1_0_is_answered_its_way(gateway: Served, connection: str, stays: bool) -> None:
    """The connection ends, or is said to stay, as the client asked."""
    async with gateway.wire() as (reader, writer):
        writer.write(request("1.0", connection))
        status, headers, _ = await answer(reader)
        assert status == b"HTTP/1.0 202 Accepted"
        assert (headers.get("Connection") == "keep-alive") is stays
        if not stays:
            assert await reader.read() == b""


async def test_many_requests_on_one_connection_are_answered_in_order(gateway: Served) -> None:
    """Also when they are sent without waiting for answers."""
    async with gateway.wire() as (reader, writer):
        writer.write(request() * 50)
        ids = [EventId.parse(str((await answer(reader))[2]["id"])) for _ in range(50)]
    assert ids == sorted(set(ids))
    assert len(await kept(gateway)) == 50


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("receipts", [RECEIPTS[:1], RECEIPTS[1:], RECEIPTS])
def test_the_body_is_json(receipts: list[Receipt], batch: bool) -> None:
    """Written by hand, it is what the JSON encoder would have written."""
    answers = [{"id": r.id and str(r.id), "receivers": r.receivers} for r in receipts]
    response = taken(make_mocked_request("POST", "/", version=HttpVersion10), receipts, batch=batch, fields={})
    assert isinstance(response, web.Response)
    assert response.text == json.dumps(answers if batch else answers[0])
