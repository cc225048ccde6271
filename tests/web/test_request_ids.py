"""A request's id: kept or made, in its answer and in what the log says about it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

import pytest
from aiohttp import web
from servers import until
from streams import Stream
from structlog.testing import capture_logs
from structlog.typing import EventDict
from web.inprocess import JSON, SECRET, Served, bearer, claims, served, token

from gateway.config import PublishKey
from gateway.telemetry.sparing import Sparing
from gateway.web import auth, publish_log, refusal

MADE = re.compile(r"[0-9a-f]{16}")
EVENT = json.dumps({"event_type": "x", "data": 1}).encode()
SENT = {"X-Request-Id": "a.proxy-made_it.7"}


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other tests had refused does not count here."""
    for module in (auth, publish_log, refusal):
        monkeypatch.setattr(module, "_sparing", Sparing())


def ids(logged: Iterable[EventDict], event: str) -> list[object]:
    return [line["request_id"] for line in logged if line["event"] == event]


@pytest.mark.parametrize("sent", ["a", "A.b_c-9", "x" * 64])
async def test_one_that_was_sent_is_kept(gateway: Served, sent: str) -> None:
    """By answers that are made ready, and by those that aiohttp writes."""
    for method, path in (("POST", "/v1/users/a/events"), ("GET", "/livez")):
        async with gateway.http.request(method, path, data=EVENT, headers=JSON | {"X-Request-Id": sent}) as response:
            assert response.status < 300
            assert response.headers.getall("X-Request-Id") == [sent]


@pytest.mark.parametrize("sent", [None, "", "x" * 65, "a b", 'a"b', "a/b", "ä", "a\tb"])
async def test_anything_else_is_replaced(gateway: Served, sent: str | None) -> None:
    """None, an empty one, one too long or with other characters: the gateway makes one."""
    for method, path in (("POST", "/v1/users/a/events"), ("GET", "/livez")):
        headers = JSON if sent is None else JSON | {"X-Request-Id": sent}
        async with gateway.http.request(method, path, data=EVENT, headers=headers) as response:
            assert response.status < 300
            (answered,) = response.headers.getall("X-Request-Id")
            assert MADE.fullmatch(answered)


async def test_each_request_of_a_connection_has_its_own(gateway: Served) -> None:
    """What one was called does not stick to the next."""
    async with gateway.http.post("/v1/users/a/events", data=EVENT, headers=JSON | SENT) as response:
        first = response.headers["X-Request-Id"]
    answered = [first]
    for _ in range(2):
        async with gateway.http.post("/v1/users/a/events", data=EVENT, headers=JSON) as response:
            answered.append(response.headers["X-Request-Id"])
    assert len(set(answered)) == 3


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/v1/users/a/events", 400), ("GET", "/v1/nothing", 404), ("PUT", "/v1/events", 405)],
)
async def test_a_problem_is_an_instance(gateway: Served, method: str, path: str, status: int) -> None:
    """The gateway's refusals and aiohttp's say in their body which request it was."""
    async with gateway.http.request(method, path, data=b"{}", headers=JSON | SENT) as response:
        assert response.status == status
        assert response.headers["X-Request-Id"] == SENT["X-Request-Id"]
        problem = await response.json(content_type="application/problem+json")
    assert problem["instance"] == "urn:event-gateway:request:a.proxy-made_it.7"


async def test_publishes_are_logged_with_it(secured: Served) -> None:
    """Those that were accepted, that were refused, and that showed a wrong key."""
    for key, event in (("key-for-all", "publish.answered"), ("wrong", "credential.refused")):
        for body in (EVENT, b"{}"):
            with capture_logs() as logged:
                headers = JSON | bearer(key)
                async with secured.http.post("/v1/users/a/events", data=body, headers=headers) as response:
                    assert ids(logged, event) == [response.headers["X-Request-Id"]]


async def test_a_stream_is_logged_with_it_when_it_ends() -> None:
    """The last line about a stream has the id that its first bytes told."""
    async with served() as gateway:
        with capture_logs() as logged:
            async with Stream(gateway.url, "user=alice") as stream:
                told = stream.headers["X-Request-Id"]
            await until(lambda: ids(logged, "stream.closed"))
        assert MADE.fullmatch(told)
        assert ids(logged, "stream.closed") == [told]


async def test_a_refused_stream_is_logged_with_it() -> None:
    """Also when an EventSource is told to come again, by a stream."""
    headers = bearer(token(claims("alice"))) | SENT
    keys = (PublishKey("all", "key-for-all"),)
    async with (
        served(jwt_secret=SECRET, publish_keys=keys, max_connections=1) as gateway,
        gateway.http.get("/v1/events", headers=headers) as first,
    ):
        assert first.status == 200
        with capture_logs() as logged:
            async with gateway.http.get("/v1/events", headers=headers | {"Accept": "text/event-stream"}) as second:
                assert second.headers["X-Request-Id"] == SENT["X-Request-Id"]
    assert ids(logged, "stream.refused") == [SENT["X-Request-Id"]]


async def test_an_unexpected_error_is_logged_with_it(gateway: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the client is told leads to the traceback, which it is not told."""

    async def publish(items: object) -> web.Response:
        raise RuntimeError("a bug")

    monkeypatch.setattr(gateway.gateway.relay.broker, "publish", publish)
    with capture_logs() as logged:
        async with gateway.http.post("/v1/users/a/events", data=EVENT, headers=JSON) as response:
            assert response.status == 500
            problem = await response.json(content_type="application/problem+json")
    (logged_id,) = ids(logged, "http.unexpected_error")
    assert problem["instance"] == f"urn:event-gateway:request:{logged_id}"
