"""Pages of the origins that are named may read answers, others may not."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from multidict import CIMultiDictProxy
from web.inprocess import SECRET, Served, bearer, claims, served, token

from gateway.config import PublishKey

ORIGIN = "https://app.example.com"
OTHERS = [
    "https://evil.example.com",
    "https://app.example.com.evil.com",
    "http://app.example.com",
    "null",
    ORIGIN + "/",
]
HEADERS = ["Authorization", "Cache-Control", "Content-Type", "Idempotency-Key", "Last-Event-ID", "X-Request-Id"]
EXPOSED = ["Heartbeat-Interval", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-Id"]
ROUTES = {
    "/v1/events": {"GET", "POST"},
    "/v1/tickets": {"POST"},
    "/v1/users/alice/events": {"POST"},
    "/livez": {"GET", "HEAD"},
}
ERRORS = {
    "no credential": ("GET", "/v1/events", 401),
    "no such path": ("GET", "/nope", 404),
    "no such method": ("PATCH", "/v1/events", 405),
    "another type": ("POST", "/v1/broadcast", 415),
}


def cors(headers: Mapping[str, str] | CIMultiDictProxy[str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.startswith("Access-Control-")}


def asking(origin: str = ORIGIN, method: str = "GET") -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization",
    }


@pytest.mark.parametrize("path", ROUTES)
async def test_a_preflight_is_answered(path: str) -> None:
    """OPTIONS on each route says what a page of an origin that is named may send there."""
    async with served(cors_origins=("https://b.example", ORIGIN)) as gateway:
        async with gateway.http.options(path, headers=asking()) as response:
            assert response.status == 204
            assert response.headers["Vary"] == "Origin"
            granted = cors(response.headers)
        methods = granted.pop("Access-Control-Allow-Methods")
        assert set(methods.split(", ")) == ROUTES[path]
        assert granted == {
            "Access-Control-Allow-Origin": ORIGIN,
            "Access-Control-Allow-Credentials": "true",
            "Access-Control-Allow-Headers": ", ".join(HEADERS),
            "Access-Control-Expose-Headers": ", ".join(EXPOSED),
            "Access-Control-Max-Age": "7200",
        }


@pytest.mark.parametrize("origin", OTHERS)
async def test_another_origin_gets_no_grant(origin: str) -> None:
    """An origin that is not named, or not written exactly so, is refused, and told what would name it."""
    async with served(cors_origins=(ORIGIN,)) as gateway:
        async with gateway.http.options("/v1/events", headers=asking(origin)) as response:
            assert response.status == 403
            assert not cors(response.headers)
            detail = (await response.json())["detail"]
            assert detail == f"pages of {origin} may not ask here: GATEWAY_CORS_ORIGINS names those that may"
        async with gateway.http.get("/livez", headers={"Origin": origin}) as response:
            assert response.status == 200
            assert not cors(response.headers)
            assert response.headers["Vary"] == "Origin"


async def test_without_the_setting_there_is_no_cors(gateway: Served) -> None:
    """Nobody asked for it, so nothing tells of it."""
    async with gateway.http.options("/v1/events", headers=asking()) as response:
        assert response.status == 403
        assert not cors(response.headers)
        assert "Vary" not in response.headers
    async with gateway.http.options("/v1/events") as response:
        assert response.status == 405


async def test_an_origin_that_is_not_named_is_logged(gateway: Served, capsys: pytest.CaptureFixture[str]) -> None:
    """One for each origin, since the page itself cannot see why; none for pages of this very address."""
    for origin in ("https://a.example", "https://a.example", "null", gateway.url):
        async with gateway.http.get("/livez", headers={"Origin": origin}):
            pass
    lines = [line for line in capsys.readouterr().out.splitlines() if "cors.not_granted" in line]
    assert len(lines) == 2
    assert "https://a.example" in lines[0]
    assert "GATEWAY_CORS_ORIGINS" in lines[0]
    assert "null" in lines[1]


async def test_any_origin_without_credentials() -> None:
    """`*` lets every page read, and lets none send cookies."""
    async with served(cors_origins=("*",)) as gateway:
        for answer in (gateway.http.options("/v1/events", headers=asking("null")),
                       gateway.http.get("/livez", headers={"Origin": "https://anybody.example"})):  # fmt: skip
            async with answer as response:
                granted = cors(response.headers)
                assert granted["Access-Control-Allow-Origin"] == "*"
                assert "Access-Control-Allow-Credentials" not in granted


@pytest.mark.parametrize("name", ERRORS)
async def test_errors_can_be_read(name: str) -> None:
    """A page of an origin that is named can read why it was refused."""
    method, path, status = ERRORS[name]
    keys = (PublishKey("all", "key"),)
    async with served(cors_origins=(ORIGIN,), jwt_secret=SECRET, publish_keys=keys) as gateway:
        headers = {"Origin": ORIGIN} | (bearer("key") if method == "POST" else {})
        async with gateway.http.request(method, path, headers=headers, data=b"x") as response:
            assert response.status == status
            assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
            assert response.headers["Access-Control-Allow-Credentials"] == "true"


async def test_streams_can_be_read() -> None:
    """A stream, and the stream that only says when to come back, are for such a page too."""
    headers = {"Origin": ORIGIN, "Accept": "text/event-stream"} | bearer(token(claims()))
    async with (
        served(cors_origins=(ORIGIN,), jwt_secret=SECRET, max_connections=1) as gateway,
        gateway.http.get("/v1/events", headers=headers) as first,
        gateway.http.get("/v1/events", headers=headers) as second,
    ):
        for response in (first, second):
            assert response.status == 200
            assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert (await second.read()).startswith(b"retry:")


async def test_what_was_published_is_told_to_a_page() -> None:
    """A publish from a page is answered so that the page can read it."""
    async with served(cors_origins=(ORIGIN,)) as gateway:
        event = {"event_type": "x", "data": 1}
        async with gateway.http.post("/v1/users/alice/events", json=event, headers={"Origin": ORIGIN}) as response:
            assert response.status == 202
            assert response.headers["Access-Control-Allow-Origin"] == ORIGIN


async def test_a_preflight_for_nothing_is_not_found() -> None:
    """There is nothing to ask about a path that does not exist."""
    async with served(cors_origins=(ORIGIN,)) as gateway:
        async with gateway.http.options("/nope", headers=asking()) as response:
            assert response.status == 404
        async with gateway.http.options("/v1/events", headers={"Origin": ORIGIN}) as response:
            assert response.status == 405
