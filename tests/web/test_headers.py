"""What every answer carries, whoever made it."""

from __future__ import annotations

import re

import aiohttp
import pytest
from streams import Stream
from web.inprocess import Served

from gateway.web import headers as gateway_headers

ALWAYS = gateway_headers.ALWAYS | {"Server": "event-gateway"}

ANSWERS = {
    "health": ("GET", "/livez", 200),
    "metrics": ("GET", "/metrics", 200),
    "a refusal": ("POST", "/v1/broadcast", 415),
    "no such path": ("GET", "/nope", 404),
    "no such method": ("PATCH", "/v1/events", 405),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_every_answer_carries_them(gateway: Served, name: str) -> None:
    """Answers of all kinds have the same headers, and no version in them."""
    method, path, status = ANSWERS[name]
    async with gateway.http.request(method, path, data=b"x") as response:
        assert response.status == status
        assert {header: response.headers.get(header) for header in ALWAYS} == ALWAYS
        assert not names_a_version(response.headers)


async def test_a_stream_carries_them(gateway: Served) -> None:
    """The answer that lasts has them like any other."""
    async with Stream(gateway.url, "user=alice") as stream:
        assert {header: stream.headers.get(header) for header in ALWAYS} == ALWAYS


def names_a_version(headers: aiohttp.typedefs.LooseHeaders) -> bool:
    return re.search(r"aiohttp|python/|/\d+\.\d", str(headers), re.IGNORECASE) is not None
