"""The cookie `gateway_token`: sent by the browser, whoever's page asked for it to be sent."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from streams import Stream
from web.inprocess import SECRET, Served, bearer, claims, served, token

from gateway.config import PublishKey

OURS = "https://app.example.com"
KEYS = (PublishKey("all", "key"),)


@pytest_asyncio.fixture
async def gateway() -> AsyncIterator[Served]:
    async with served(jwt_secret=SECRET, publish_keys=KEYS, cors_origins=(OURS,)) as running:
        yield running


def cookie(user: str = "alice") -> dict[str, str]:
    return {"Cookie": f"a=b; gateway_token={token(claims(user))}; c=d"}


BELIEVED = {
    "a program": {},
    "an old browser": {"Origin": OURS},
    "a page of the gateway's own origin": {"Sec-Fetch-Site": "same-origin"},
    "the address bar": {"Sec-Fetch-Site": "none"},
    "a page that is named, of the same site": {"Sec-Fetch-Site": "same-site", "Origin": OURS},
    "a page that is named, of another site": {"Sec-Fetch-Site": "cross-site", "Origin": OURS},
}
NOT_BELIEVED = {
    "a page of another site": {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
    "without saying its origin": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    "a neighbour": {"Sec-Fetch-Site": "same-site", "Origin": "https://blog.example.com"},
    "a neighbour without saying its origin": {"Sec-Fetch-Site": "same-site"},
    "no origin at all": {"Sec-Fetch-Site": "cross-site", "Origin": "null"},
}


@pytest.mark.parametrize("who", BELIEVED)
async def test_it_is_believed(gateway: Served, who: str) -> None:
    """Where the user's own page, or one that is named, had it sent, or somebody who is no browser."""
    async with Stream(gateway.url, headers=cookie() | BELIEVED[who]):
        assert gateway.gateway.registry.here("alice") == 1


@pytest.mark.parametrize("who", NOT_BELIEVED)
async def test_a_page_that_is_not_named_opens_nothing(gateway: Served, who: str) -> None:
    """It could not read the stream, but would use up the user's places, or the user's tickets."""
    for method, path in (("GET", "/v1/events"), ("POST", "/v1/tickets")):
        async with gateway.http.request(method, path, headers=cookie() | NOT_BELIEVED[who]) as response:
            assert response.status == 401
            assert "GATEWAY_CORS_ORIGINS" in (await response.json())["detail"]
    assert gateway.gateway.metrics.credentials_refused.labels("subscribe", "cross_site")._value.get() == 2
    assert gateway.gateway.hub.connections == set()


async def test_any_origin_is_without_the_cookie() -> None:
    """`*` lets every page read what needs no credentials, and sends none for it."""
    async with served(jwt_secret=SECRET, publish_keys=KEYS, cors_origins=("*",)) as running:
        sent = cookie() | {"Sec-Fetch-Site": "cross-site", "Origin": OURS}
        async with running.http.get("/v1/events", headers=sent) as response:
            assert response.status == 401


async def test_a_header_is_sent_by_who_has_the_token(gateway: Served) -> None:
    """It needs no protection: no page can have another's token sent in it."""
    sent = bearer(token(claims())) | {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    async with gateway.http.get("/v1/events", headers=sent) as response:
        assert response.status == 200
        assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize("order", [("alice", "mallory"), ("mallory", "alice")])
@pytest.mark.parametrize("between", ["; ", ";", "; x=y; ", "\r\nCookie: "])
async def test_two_of_them_are_none(gateway: Served, order: tuple[str, str], between: str) -> None:
    """A page of a neighbouring name can add one, to have the user see the events of somebody else."""
    both = between.join(f"gateway_token={token(claims(user))}" for user in order)
    async with gateway.wire() as (reader, writer):
        writer.write(f"GET /v1/events HTTP/1.1\r\nHost: x\r\nCookie: {both}\r\n\r\n".encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 401 ")
    assert gateway.gateway.metrics.credentials_refused.labels("subscribe", "malformed")._value.get() == 1


async def test_the_same_twice_is_one(gateway: Served) -> None:
    """A cookie of two paths."""
    shown = f"gateway_token={token(claims())}"
    async with Stream(gateway.url, headers={"Cookie": f"{shown}; {shown}"}):
        assert gateway.gateway.registry.here("alice") == 1
