"""CloudEvents on the publish endpoints, sent by the specification's own SDK and by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cloudevents.core.bindings import http as sdk
from cloudevents.core.v1.event import CloudEvent
from streams import Stream
from web.inprocess import Served, kept, nothing_published, post, served

ONE = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "7",
    "source": "/billing",
    "type": "invoice.paid",
    "data": {"a": 1},
}
BINARY = {"ce-specversion": "1.0", "ce-id": "7", "ce-source": "/billing", "ce-type": "invoice.paid"}
JSON_DATA = {"datacontenttype": "application/json"}
ENDPOINTS = ["/v1/events", "/v1/users/alice/events", "/v1/broadcast", "/v1/topics/orders.eu/events"]


async def structured(gateway: Served, body: Any, path: str = "/v1/users/alice/events") -> tuple[int, Any]:
    kind = BATCH if isinstance(body, list) else ONE
    return await post(gateway, body, path, {"Content-Type": kind})


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("mode", ["binary", "structured", "batch"])
async def test_what_the_sdk_sends_reaches_a_subscriber(gateway: Served, path: str, mode: str) -> None:
    """In each mode, on each path: `type` is the event type, and `subject` the user where the path names nobody."""
    sent = CloudEvent({"source": "/billing", "type": "invoice.paid", "subject": "alice"} | JSON_DATA, {"é": [1, None]})
    message = sdk.to_binary_event(sent) if mode == "binary" else sdk.to_structured_event(sent)
    body, headers = message.body, dict(message.headers)
    if mode == "batch":  # the SDK has none
        body, headers = b"[" + body + b"]", {"content-type": BATCH}
    async with Stream(gateway.url, "user=alice&topic=orders.eu") as stream:
        async with gateway.http.post(path, data=body, headers=headers) as response:
            assert response.status == 202, await response.text()
            answer = await response.json()
        event = await stream.next()
    [receipt] = answer if mode == "batch" else [answer]
    assert (event.type, json.loads(event.data)) == ("invoice.paid", {"é": [1, None]})
    assert (event.last_event_id, receipt["receivers"]) == (receipt["id"], 1)


async def test_the_same_source_and_id_is_one_event(gateway: Served) -> None:
    """Sent again, in whichever mode, it gives the first answer; another source, or channel, is another event."""
    first = await structured(gateway, EVENT)
    assert await structured(gateway, EVENT | {"data": "other"}) == first
    binary = await post(gateway, {"a": 2}, headers=BINARY | {"Content-Type": "application/json"})
    assert binary == first
    assert (await structured(gateway, [EVENT]))[1] == [first[1]]
    assert await kept(gateway) == [("invoice.paid", {"a": 1})]
    assert await structured(gateway, EVENT | {"source": "/billing/eu"}) != first
    assert await structured(gateway, EVENT, "/v1/users/bob/events") != first


async def test_an_idempotency_key_goes_first(gateway: Served) -> None:
    """As for every event, the header counts and not what the event says of itself."""
    for key in ("one", "two"):
        assert (await post(gateway, EVENT, headers={"Content-Type": ONE, "Idempotency-Key": key}))[0] == 202
    assert len(await kept(gateway)) == 2


async def test_an_empty_batch_is_taken(gateway: Served) -> None:
    """A batch of CloudEvents may be empty, says their specification."""
    async with nothing_published(gateway):
        assert await structured(gateway, []) == (202, [])


BAD = [
    ({"id": None}, "id"),
    ({"time": "now"}, "time"),
    ({"type": "gateway.gap"}, "type"),
    ({"Extension": 1}, "Extension"),
    ({"data": "\ud800"}, "data"),
    ({"data_base64": "e30="}, "data_base64"),
    ({"data": None, "data_base64": "e3t9"}, "data_base64"),
]


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize(("change", "field"), BAD)
async def test_a_bad_attribute_refuses_the_whole_batch(
    gateway: Served, path: str, change: dict[str, Any], field: str
) -> None:
    """It is named, with the index in a batch, and nothing is published."""
    good = EVENT | {"subject": "alice"}
    async with nothing_published(gateway):
        status, answer = await structured(gateway, good | change, path)
        assert (status, answer["field"], answer["type"]) == (400, field, "urn:event-gateway:problem:invalid-event")
        status, answer = await structured(gateway, [good, good | change], path)
        assert (status, answer["field"]) == (400, f"[1].{field}")


@pytest.mark.parametrize(
    ("headers", "field"),
    [
        *(({name: None}, name) for name in BINARY),
        ({"ce-time": "now"}, "ce-time"),
        ({"ce-trace_id": "a"}, "ce-trace_id"),
        ({"ce-subject": "%FF"}, "ce-subject"),
        ({"ce-type": "a/b"}, "ce-type"),
        ({"Content-Type": "json"}, "Content-Type"),
    ],
)
async def test_a_bad_header_is_named(gateway: Served, headers: dict[str, str | None], field: str) -> None:
    """In binary mode the header is named; any of the four that must be there makes it binary mode."""
    sent = {name: value for name, value in (BINARY | {"Content-Type": "text/plain"} | headers).items() if value}
    async with nothing_published(gateway), gateway.http.post("/v1/broadcast", data=b"x", headers=sent) as response:
        assert (response.status, (await response.json())["field"]) == (400, field)


async def test_a_header_given_twice_is_refused(gateway: Served) -> None:
    headers = [*BINARY.items(), ("ce-id", "8"), ("Content-Type", "application/json")]
    async with nothing_published(gateway), gateway.http.post("/v1/broadcast", data=b"1", headers=headers) as response:
        assert (response.status, (await response.json())["field"]) == (400, "ce-id")


async def test_own_path_needs_a_subject(gateway: Served) -> None:
    """POST /v1/events cannot know whom to tell without one, and says so by the attribute's name."""
    async with nothing_published(gateway):
        status, answer = await structured(gateway, EVENT, "/v1/events")
        assert (status, answer["field"]) == (400, "subject")
        headers = BINARY | {"Content-Type": "application/json"}
        status, answer = await post(gateway, {"a": 1}, "/v1/events", headers)
        assert (status, answer["field"]) == (400, "ce-subject")
        status, answer = await structured(gateway, [EVENT | {"subject": "a b"}], "/v1/events")
        assert (status, answer["field"]) == (400, "[0].subject")


async def test_a_subject_may_be_anything_where_the_path_names_the_user(gateway: Served) -> None:
    status, _ = await structured(gateway, EVENT | {"subject": "invoice 7 / €"})
    assert status == 202


@pytest.mark.parametrize(
    "kind", ["application/cloudevents", "application/cloudevents+xml", "application/cloudevents+avro"]
)
async def test_other_formats_are_refused(gateway: Served, kind: str) -> None:
    """A 415 that says which are read."""
    async with nothing_published(gateway):
        status, answer = await post(gateway, EVENT, headers={"Content-Type": kind})
        assert status == 415
        assert ONE in answer["detail"]


async def test_a_form_is_no_data(gateway: Served) -> None:
    """What curl says by itself of a body is no CloudEvent's content type that anybody meant."""
    headers = BINARY | {"Content-Type": "application/x-www-form-urlencoded"}
    async with nothing_published(gateway):
        assert (await post(gateway, {"a": 1}, headers=headers))[0] == 415


@pytest.mark.parametrize(("kind", "body"), [(ONE, [EVENT]), (BATCH, EVENT), (ONE, b"{"), (BATCH, b"[{]")])
async def test_the_body_must_be_what_the_content_type_says(gateway: Served, kind: str, body: Any) -> None:
    async with nothing_published(gateway):
        assert (await post(gateway, body, headers={"Content-Type": kind}))[0] == 400


async def test_limits_are_the_same() -> None:
    """A batch and an event over their limits are a 413; the attributes count with the data."""
    async with served(max_event_bytes=1000, max_batch_events=2) as small:
        async with nothing_published(small):
            for event in (EVENT | {"data": "a" * 1000}, EVENT | {"more": "a" * 1000}):
                status, answer = await structured(small, event)
                assert (status, answer["field"]) == (413, "data")
            assert (await structured(small, [EVENT] * 3))[0] == 413
        assert (await structured(small, EVENT | {"more": "a" * 900}))[0] == 202


async def test_without_retention_it_is_delivered(redis_url: str, prefix: str) -> None:
    """Over Redis too, where such an event has no id and is read as one published by hand."""
    settings = {"broker_url": redis_url, "channel_prefix": prefix, "retention": False}
    async with served(dev=True, **settings) as gateway, Stream(gateway.url, "user=alice") as stream:
        status, answer = await structured(gateway, EVENT)
        assert (status, answer["id"]) == (202, None)
        event = await stream.next()
        assert (event.type, json.loads(event.data)) == ("invoice.paid", {"a": 1})
