"""What the public port serves and what only the internal one does."""

from __future__ import annotations

import socket

import aiohttp
import pytest
from servers import HOST, free_port, until
from streams import Stream
from web.inprocess import Served, served

from gateway.config import ConfigError

INSIDE = [
    ("POST", "/v1/users/alice/events"),
    ("POST", "/v1/broadcast"),
    ("POST", "/v1/topics/orders/events"),
    ("GET", "/v1/users/alice/presence"),
    ("DELETE", "/v1/users/alice/connections"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("GET", "/asyncapi.json"),
    ("GET", "/docs"),
]


async def status(gateway: Served, method: str, path: str) -> int:
    async with gateway.http.request(method, path, json={"event_type": "x", "data": 1}) as response:
        return response.status


@pytest.mark.parametrize(("method", "path"), INSIDE)
async def test_what_is_for_the_inside_does_not_exist_outside(method: str, path: str) -> None:
    """On the public port it is a 404 like any other path; on the internal port it is there."""
    port = free_port()
    async with served(internal_port=port) as gateway:
        async with gateway.http.request(method, path) as response, gateway.http.get("/nope") as nothing:
            assert response.status == nothing.status == 404
            answers = [await answer.json() for answer in (response, nothing)]
            assert len({answer.pop("instance") for answer in answers}) == 2  # each request's own
            assert answers[0] == answers[1]
        inside = f"http://{HOST}:{port}{path}"
        assert await status(gateway, method, inside) in (200, 202)


async def test_publishing_to_the_path_of_the_streams_is_no_method_there() -> None:
    """The path has streams, which are public, and publishing, which is not."""
    async with served(internal_port=free_port()) as gateway, gateway.http.post("/v1/events") as response:
        assert response.status == 405
        assert response.headers["Allow"] == "GET"


async def test_subscribers_need_only_the_public_port() -> None:
    """Streams, tickets and probes are there; what is published inside arrives."""
    port = free_port()
    async with served(internal_port=port) as gateway, Stream(gateway.url, "user=alice") as stream:
        for path in ("/livez", "/readyz"):
            assert await status(gateway, "GET", path) == 200
            assert await status(gateway, "GET", f"http://{HOST}:{port}{path}") == 200
        assert await status(gateway, "POST", "/v1/tickets?user=alice") == 201
        assert await status(gateway, "POST", f"http://{HOST}:{port}/v1/users/alice/events") == 202
        assert (await stream.next()).type == "x"


async def test_strangers_are_told_reasons_by_name_only() -> None:
    """Where Redis is, and what it said, stands on the internal port."""
    inside, away = free_port(), free_port()
    async with served(internal_port=inside, broker_url=f"redis://{HOST}:{away}") as gateway:
        gateway.gateway.draining = True
        await until(lambda: str(away) in str(gateway.gateway.relay.health()))
        async with gateway.http.get("/readyz") as response:
            assert await response.json() == {"status": "unavailable", "reasons": ["draining", "broker"]}
        async with gateway.http.get(f"http://{HOST}:{inside}/readyz") as response:
            assert str(away) in (await response.json())["reasons"][1]


async def test_both_ports_are_closed_at_the_end() -> None:
    """A process that is taken down leaves neither port behind."""
    port = free_port()
    async with served(internal_port=port) as gateway:
        pass
    for number in (gateway.port, port):
        with pytest.raises(aiohttp.ClientConnectionError):
            async with aiohttp.ClientSession() as http, http.get(f"http://{HOST}:{number}/livez"):
                pass


async def test_an_internal_port_that_is_taken_is_named() -> None:
    """The error says which of the two it is."""
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"GATEWAY_INTERNAL_PORT: 127.0.0.1:{port}: "):
            async with served(internal_port=port):
                pass
