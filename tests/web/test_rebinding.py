"""Development mode answers to this machine's names only: no web page's name leads to it."""

from __future__ import annotations

import pytest
from streams import Stream
from web.inprocess import SECRET, Served, bearer, claims, served, token

from gateway.config import PublishKey
from gateway.web.rebinding import can_be_owned

OUR_OWN = [
    "localhost", "localhost:8080", "LOCALHOST:1", "app.localhost:3000", "127.0.0.1", "127.0.0.1:8080", "[::1]",
    "[::1]:8080", "192.168.1.7:8080", "gateway", "gateway:8080", "mac.local", "app.test:443", "events.example.com",
    "redis.internal", "localhost.", "", "x",
]  # fmt: skip
OWNED = [
    "evil.com", "evil.com:8080", "EVIL.COM", "evil.com.", "localhost.evil.com", "127.0.0.1.evil.com:8080",
    "127.0.0.1.nip.io", "notlocalhost.com", "evillocalhost.io", "1.2.3.4.5", "xn--e1afmkfd.xn--p1ai", "a.b:c:d",
]  # fmt: skip


@pytest.mark.parametrize("host", OUR_OWN)
def test_nobody_owns_it(host: str) -> None:
    """An address, a single word, and what is set apart for such use."""
    assert not can_be_owned(host)


@pytest.mark.parametrize("host", OWNED)
def test_somebody_may_own_it(host: str) -> None:
    """Any other name, however it begins."""
    assert can_be_owned(host)


async def test_a_page_whose_name_was_rebound_reads_nothing(gateway: Served) -> None:
    """Neither a stream, nor anything else; nor does it publish."""
    for method, path in (("GET", "/v1/events?user=alice"), ("GET", "/metrics"), ("POST", "/v1/broadcast")):
        body = {"event_type": "x", "data": 1} if method == "POST" else None
        async with gateway.http.request(method, path, headers={"Host": "evil.com:8080"}, json=body) as response:
            assert response.status == 403
            answer = await response.json()
            assert answer["field"] == "Host"
            assert "localhost" in answer["detail"]
    async with Stream(gateway.url, "user=alice", headers={"Host": "localhost"}) as stream:
        await stream.position()


async def test_in_production_any_name_will_do() -> None:
    """There a token says who is asking."""
    keys = (PublishKey("all", "key"),)
    async with served(jwt_secret=SECRET, publish_keys=keys) as gateway:
        sent = bearer(token(claims())) | {"Host": "events.acme.com"}
        async with gateway.http.get("/v1/events", headers=sent) as response:
            assert response.status == 200
