"""GATEWAY_USER_HEADER: the user that a trusted proxy names, and nobody else."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
from streams import Stream
from web.inprocess import SECRET, bearer, claims, served, token

from gateway.config import PublishKey

KEYS = (PublishKey("k", "key"),)
HERE = {"user_header": "X-User-Id", "trusted_proxies": (ip_network("127.0.0.0/8"),), "publish_keys": KEYS}
ELSEWHERE = HERE | {"trusted_proxies": (ip_network("10.0.0.0/8"),)}


async def status(settings: dict[str, Any], query: str = "", **headers: str) -> int:
    async with (
        served(dev=False, **settings) as gateway,
        gateway.http.get(f"/v1/events?{query}", headers=headers) as response,
    ):
        return response.status


async def test_the_user_that_a_trusted_proxy_names_is_served() -> None:
    """The stream is that user's, whatever the query or the client's own credentials say."""
    async with served(dev=False, jwt_secret=SECRET, **HERE) as gateway:
        sent = {"X-User-Id": "alice"} | bearer("a session of the application, not of the gateway")
        async with Stream(gateway.url, "user=bob", headers=sent):
            assert gateway.gateway.registry.here("alice") == 1


@pytest.mark.parametrize("address", ["192.0.2.1", "127.0.0.1", "10.0.0.1"])
async def test_from_elsewhere_the_header_is_ignored(address: str) -> None:
    """Who is no trusted proxy names nobody, also when it claims to be one."""
    assert await status(ELSEWHERE, **{"X-User-Id": "alice", "X-Forwarded-For": address}) == 401


async def test_a_proxy_that_names_nobody_gets_no_stream() -> None:
    """Without the header, also of a trusted proxy, there is no user; an empty or a double one is none either."""
    assert await status(HERE) == 401
    for bad in ("", " ", "a b", "*", "..", "alice, bob", "a" * 129, "é"):
        assert await status(HERE, **{"X-User-Id": bad}) == 401


async def test_the_header_twice_is_refused() -> None:
    """A proxy that adds to what the client sent, instead of replacing it, lets nobody in."""
    async with served(dev=False, **HERE) as gateway, gateway.wire() as (reader, writer):
        writer.write(b"GET /v1/events HTTP/1.1\r\nHost: x\r\nX-User-Id: bob\r\nX-User-Id: alice\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 401 ")


async def test_it_grants_no_topics() -> None:
    """A header names a user and nothing else."""
    assert await status(HERE, "topic=news", **{"X-User-Id": "alice"}) == 403


async def test_a_bad_user_header_is_not_made_good_by_a_token() -> None:
    """What is believed first decides."""
    sent = {"X-User-Id": "a b"} | bearer(token(claims()))
    assert await status(HERE | {"jwt_secret": SECRET}, **sent) == 401


async def test_without_the_header_a_token_may_speak() -> None:
    """Where both ways are set up, some clients come by the proxy's word and others by their own token."""
    for settings in (HERE, ELSEWHERE):
        async with (
            served(dev=False, **settings, jwt_secret=SECRET) as gateway,
            Stream(gateway.url, token=token(claims("carol"))),
        ):
            assert gateway.gateway.registry.here("carol") == 1


async def test_it_does_not_publish() -> None:
    """The header is about who listens; publishers show keys."""
    async with served(dev=False, **HERE) as gateway:
        event = {"event_type": "x", "data": 1}
        async with gateway.http.post("/v1/broadcast", json=event, headers={"X-User-Id": "alice"}) as response:
            assert response.status == 401
