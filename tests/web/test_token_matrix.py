"""Tokens that must not be believed, over HTTP: at every door, with a key of each kind, none opens anything."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from auth.evil import REASONS, evil, fine
from auth.signing import KINDS, SECRET, jwk, pem, signed
from servers import until
from streams import Stream
from web.inprocess import JSON, Served, bearer, served
from web.jwks_server import issuer

from gateway.config import PublishKey

DOORS = ["secret HS256", "pem RS256", "pem ES256", "pem EdDSA", "jwks RS256", "jwks ES256"]


@asynccontextmanager
async def gateway_with(door: str) -> AsyncIterator[tuple[Served, str]]:
    """A gateway for audience `app` and issuer `me`, and the algorithm of its key."""
    how, algorithm = door.split()
    said: dict[str, Any] = {"jwt_audience": "app", "jwt_issuer": "me", "publish_keys": (PublishKey("k", "key"),)}
    if how == "jwks":
        async with issuer(jwk(KINDS[algorithm], "first")) as one, served(jwt_jwks_url=one.url, **said) as gateway:
            verifier = gateway.gateway.verifier
            assert verifier is not None
            await until(lambda: verifier.keys.health() is None)
            yield gateway, algorithm
        return
    key = {"jwt_secret": SECRET} if how == "secret" else {"jwt_public_key": pem(KINDS[algorithm])}
    async with served(jwt_algorithms=(algorithm,), **key, **said) as gateway:
        yield gateway, algorithm


def refused(gateway: Served, door: str) -> float:
    """All that was counted, which must be under a reason of the bounded set."""
    total = 0.0
    for family in gateway.gateway.metrics.credentials_refused.collect():
        for sample in family.samples:
            if sample.name.endswith("_total") and sample.labels["door"] == door:
                assert sample.labels["reason"] in REASONS
                total += sample.value
    return total


def sendable(algorithm: str) -> dict[str, str]:
    """Those that fit into a header, as HTTP has it."""
    return {name: token for name, token in evil(algorithm).items() if len(token) < 7000 and token.isprintable()}


def ways(token: str) -> Iterator[dict[str, str]]:
    """The headers that carry a token."""
    yield bearer(token)
    if token.isascii() and not set(token) & set('";,\\ '):
        yield {"Cookie": f"gateway_token={token}"}


@pytest.mark.parametrize("door", DOORS)
async def test_none_opens_a_stream(door: str) -> None:
    """In the header and in the cookie: 401, with WWW-Authenticate and a detail, counted; a good one opens one."""
    async with gateway_with(door) as (gateway, algorithm):
        shown = [(name, headers) for name, token in sendable(algorithm).items() for headers in ways(token)]
        for name, headers in shown:
            async with gateway.http.get("/v1/events", headers=headers) as response:
                assert response.status == 401, name
                assert response.headers["WWW-Authenticate"] == "Bearer"
                assert (await response.json(content_type="application/problem+json"))["detail"], name
        assert refused(gateway, "subscribe") == len(shown) > 150
        assert gateway.gateway.hub.connections == set()
        kid = "first" if "jwks" in door else "any"
        async with Stream(gateway.url, token=signed(algorithm, fine(), kid=kid)):
            pass


@pytest.mark.parametrize("door", ["secret HS256", "pem RS256", "jwks ES256"])
async def test_none_publishes(door: str) -> None:
    """Whatever scope it claims: 401, counted, and nothing reaches the broker."""
    async with gateway_with(door) as (gateway, algorithm):
        before = await gateway.gateway.relay.broker.tip()
        for name, token in sendable(algorithm).items():
            async with gateway.http.post("/v1/broadcast", data=b"{}", headers=bearer(token) | JSON) as response:
                assert response.status == 401, name
                assert response.headers["WWW-Authenticate"] == "Bearer"
        assert refused(gateway, "publish") == len(sendable(algorithm))
        assert await gateway.gateway.relay.broker.tip() == before


async def test_a_token_that_no_header_holds_is_refused() -> None:
    """One of 20 KB does not get past the parser."""
    huge = bearer(evil("HS256")["huge"])
    async with gateway_with("secret HS256") as (gateway, _), gateway.http.get("/v1/events", headers=huge) as response:
        assert response.status in (400, 431)


@pytest.mark.parametrize("place", ["token", "access_token", "authorization", "jwt", "gateway_token", "ticket"])
async def test_a_token_in_the_url_is_none(place: str) -> None:
    """URLs are logged and shared: a good token there opens nothing, under any name."""
    query = {place: signed("HS256", fine())}
    async with gateway_with("secret HS256") as (gateway, _), gateway.http.get("/v1/events", params=query) as response:
        assert response.status == 401


async def test_credentials_are_not_added_up() -> None:
    """The header decides, then a ticket, then the cookie: a good one behind a bad one opens nothing."""
    async with gateway_with("secret HS256") as (gateway, _):
        good = signed("HS256", fine())
        cookie = {"Cookie": f"gateway_token={good}"}
        for bad in ({"Authorization": "Bearer"}, bearer("garbage"), bearer("key"), bearer(f"{good} {good}")):
            async with gateway.http.get("/v1/events?user=alice", headers=bad | cookie) as response:
                assert response.status == 401
        async with gateway.http.get("/v1/events?ticket=none", headers=cookie) as response:
            assert response.status == 401
        async with gateway.wire() as (reader, writer):
            twice = f"Authorization: Bearer {good}\r\n" * 2
            writer.write(f"GET /v1/events HTTP/1.1\r\nHost: x\r\n{twice}\r\n".encode())
            assert (await reader.readline()).split()[1] in (b"400", b"401")


@pytest.mark.parametrize("settings", [{}, {"jwt_secret": SECRET}])
async def test_development_mode_makes_no_bad_token_good(settings: dict[str, Any]) -> None:
    """Who shows something that cannot be verified is not served as the user of the query instead."""
    async with served(dev=True, **settings) as gateway:
        for sent in (bearer("garbage"), {"Cookie": "gateway_token=garbage"}):
            async with gateway.http.get("/v1/events?user=alice", headers=sent) as response:
                assert response.status == 401
