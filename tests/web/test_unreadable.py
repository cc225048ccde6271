"""Requests that cannot be read are answered all the same: which limit it was, or that it is no HTTP."""

from __future__ import annotations

import json

import pytest
from web.inprocess import served

HEADS = {
    "URL": (b"GET /v1/events?user=" + b"a" * 300 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "GATEWAY_MAX_URL_BYTES"),
    "one header": (
        b"GET /livez HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 500 + b"\r\n\r\n",
        431,
        "GATEWAY_MAX_HEADER_BYTES",
    ),
    "headers": (b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 20 + b"\r\n", 431, "GATEWAY_MAX_HEADERS"),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "BadHttpMethod"),
}


@pytest.mark.parametrize("name", HEADS)
async def test_a_head_that_is_too_large(name: str) -> None:
    """It is answered as a problem that names the limit, and quotes nothing."""
    data, status, named = HEADS[name]
    async with served(max_url_bytes=200, max_header_bytes=400, max_headers=10) as gateway, gateway.wire() as wire:
        reader, writer = wire
        writer.write(data)
        head, body = (await reader.read()).split(b"\r\n\r\n", 1)
        assert int(head.split()[1]) == status
        assert b"Content-Type: application/problem+json" in head
        assert b"X-Content-Type-Options: nosniff" in head
        problem = json.loads(body)
        assert problem["status"] == status
        assert named in problem["detail"]
        assert "aaa" not in str(problem)
