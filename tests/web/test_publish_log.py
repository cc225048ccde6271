"""One log line for each publish of a known publisher."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import pytest
from servers import until
from structlog.testing import capture_logs
from web.inprocess import JSON, Served, bearer, claims, token

from gateway.telemetry.sparing import Sparing
from gateway.web import publish_log

EVENT = {"event_type": "x", "data": {"secret": "payload"}}


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other tests had refused does not count here."""
    monkeypatch.setattr(publish_log, "_sparing", Sparing())


async def lines(served: Served, path: str, body: Any, key: str = "key-for-users") -> list[Any]:
    with capture_logs() as logged:
        data = io.BytesIO(json.dumps(body).encode())
        async with served.http.post(path, data=data, headers=bearer(key) | JSON) as response:
            await response.read()
    return [line for line in logged if line["event"] == "publish.answered"]


async def test_what_was_accepted_leads_back_to_its_key(secured: Served) -> None:
    """Key name, kind of channel, number of events and how long it took; no payload, no user, no key."""
    (line,) = await lines(secured, "/v1/users/alice/events", [EVENT, EVENT])
    assert line.pop("seconds") >= 0
    assert line.pop("request_id")
    assert line == {
        "event": "publish.answered",
        "log_level": "info",
        "key": "users",
        "kind": "user",
        "events": 2,
        "outcome": "accepted",
    }


async def test_a_publisher_with_a_token_is_named_by_it(secured: Served) -> None:
    """A token's sub stands where a key's name would."""
    sent = token(claims("billing", scope="broadcast"))
    (line,) = await lines(secured, "/v1/broadcast", EVENT, sent)
    assert (line["key"], line["kind"], line["outcome"]) == ("token:billing", "broadcast", "accepted")


async def test_a_subscriber_who_publishes_is_not_named(secured: Served) -> None:
    """A token without a scope is a user's: it is refused before its body is read, counted, and in no log line."""
    with capture_logs() as logged:
        sent = bearer(token(claims("mallory"))) | JSON
        async with secured.http.post("/v1/broadcast", data=b"no JSON", headers=sent) as response:
            assert response.status == 403
    assert "mallory" not in str(logged)
    labels = {"door": "publish", "reason": "no_scope"}
    assert secured.gateway.metrics.registry.get_sample_value("gateway_credentials_refused_total", labels) == 1


@pytest.mark.parametrize(
    ("path", "body", "outcome"),
    [
        ("/v1/broadcast", EVENT, "not-allowed"),
        ("/v1/topics/news/events", EVENT, "not-allowed"),
        ("/v1/users/alice/events", {}, "invalid-event"),
        ("/v1/users/alice/events", [], "invalid-request"),
        ("/v1/users/alice/events", EVENT | {"data": "x" * 70_000}, "too-large"),
        ("/v1/users/alice/events", "x" * 5_000_000, "http-413"),
    ],
)
async def test_what_was_refused_is_told_with_the_key_too(secured: Served, path: str, body: Any, outcome: str) -> None:
    """Whatever was wrong, the line names who sent it and the kind of refusal."""
    (line,) = await lines(secured, path, body)
    assert (line["log_level"], line["key"], line["outcome"], line["events"]) == ("warning", "users", outcome, 0)
    registry = secured.gateway.metrics.registry
    assert registry.get_sample_value("gateway_publishes_refused_total", {"reason": outcome}) == 1


async def test_a_publisher_that_does_not_wait_is_named_too(secured: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was handed to the broker may be stored, whether its sender waits for the answer or not."""
    asked = asyncio.Event()

    async def publish(items: object) -> None:
        asked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(secured.gateway.relay.broker, "publish", publish)
    body = json.dumps(EVENT)
    with capture_logs() as logged:
        async with secured.wire() as (_, writer):
            head = "POST /v1/users/a/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            credential = f"Authorization: Bearer key-for-users\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write((head + credential + body).encode())
            await asked.wait()
        await until(lambda: logged)
    (line,) = [line for line in logged if line["event"] == "publish.answered"]
    assert (line["key"], line["events"], line["outcome"]) == ("users", 1, "left")


async def test_refusals_without_end_are_few_lines(secured: Served) -> None:
    """However many are refused in a second, a few lines tell of it; what is accepted is always told."""
    with capture_logs() as logged:
        for _ in range(30):
            async with secured.http.post("/v1/broadcast", json=EVENT, headers=bearer("key-for-users")) as response:
                assert response.status == 403
            async with secured.http.post("/v1/users/a/events", json=EVENT, headers=bearer("key-for-users")) as response:
                assert response.status == 202
    outcomes = [line["outcome"] for line in logged if line["event"] == "publish.answered"]
    assert outcomes.count("accepted") == 30
    assert 1 <= outcomes.count("not-allowed") < 30


async def test_strangers_without_end_are_few_lines_and_all_counted(secured: Served) -> None:
    """Wrong keys are told sparingly, with the address they came from and without the key; the metric has them all."""
    with capture_logs() as logged:
        for _ in range(30):
            async with secured.http.post("/v1/broadcast", data=b"", headers=bearer("hunter2") | JSON) as response:
                assert response.status == 401
    refused = [line for line in logged if line["event"] == "credential.refused"]
    assert 0 <= len(refused) < 30
    assert all(
        (line["door"], line["reason"], line["client"]) == ("publish", "unknown_key", "127.0.0.1") for line in refused
    )
    assert "hunter2" not in str(logged)
    registry = secured.gateway.metrics.registry
    labels = {"door": "publish", "reason": "unknown_key"}
    assert registry.get_sample_value("gateway_credentials_refused_total", labels) == 30
