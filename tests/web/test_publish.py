"""The publish API: what is taken, up to which limits, and once."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from servers import free_port
from streams import Stream
from web.inprocess import JSON, Served, kept, nothing_published, post, served

from gateway.ids import EventId

NDJSON = {"Content-Type": "application/x-ndjson"}
EVENT: dict[str, Any] = {"event_type": "x", "data": {"a": 1}}
OWN = EVENT | {"user_id": "alice"}
ENDPOINTS = ["/v1/events", "/v1/users/alice/events", "/v1/broadcast", "/v1/topics/orders.eu/events"]


@pytest.mark.parametrize("path", ENDPOINTS)
async def test_an_event_reaches_a_subscriber(gateway: Served, path: str) -> None:
    """Each of the four paths delivers to the stream that it is about, under the id that it answered with."""
    async with Stream(gateway.url, "user=alice&topic=orders.eu") as stream:
        status, answer = await post(gateway, OWN, path)
        assert status == 202
        assert answer == {"id": answer["id"], "receivers": 1}
        event = await stream.next()
        assert (event.type, json.loads(event.data), event.last_event_id) == ("x", {"a": 1}, answer["id"])


@pytest.mark.parametrize("path", ENDPOINTS)
async def test_an_event_reaches_nobody_else(gateway: Served, path: str) -> None:
    """A stream of another user and without the topic sees only broadcasts."""
    async with Stream(gateway.url, "user=bob") as other:
        await post(gateway, OWN, path)
        await gateway.publish("bob", "last")
        assert (await other.next()).type == ("x" if path == "/v1/broadcast" else "last")


async def test_nobody_online_is_no_error(gateway: Served) -> None:
    """An event for a user who is not there is kept, and the answer says that nobody received it."""
    status, answer = await post(gateway, EVENT)
    assert (status, answer["receivers"]) == (202, 0)
    assert await kept(gateway) == [("x", {"a": 1})]


@pytest.mark.parametrize("path", ENDPOINTS)
async def test_a_batch_is_answered_item_by_item(gateway: Served, path: str) -> None:
    """An array gives as many answers, in order, with increasing ids, and is delivered in order."""
    async with Stream(gateway.url, "user=alice&topic=orders.eu") as stream:
        status, answer = await post(gateway, [OWN | {"data": n} for n in range(5)], path)
        assert status == 202
        ids = [EventId.parse(item["id"]) for item in answer]
        assert len(ids) == 5
        assert ids == sorted(set(ids))
        await stream.count(5)
        assert stream.data() == list(range(5))


@pytest.mark.parametrize("kind", ["application/x-ndjson", "application/ndjson", "application/jsonl"])
@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n\n"])
async def test_ndjson_is_a_batch(gateway: Served, kind: str, end: str) -> None:
    """An event a line, under any of its names, with or without a last line end, with empty lines."""
    body = "\n".join(json.dumps(OWN | {"data": n}) for n in range(3)) + end
    status, answer = await post(gateway, body.encode(), "/v1/events", {"Content-Type": kind})
    assert (status, len(answer)) == (202, 3)
    assert await kept(gateway) == [("x", 0), ("x", 1), ("x", 2)]


async def test_an_array_of_one_is_answered_with_an_array(gateway: Served) -> None:
    """A batch of one is still a batch."""
    status, answer = await post(gateway, [EVENT])
    assert (status, len(answer)) == (202, 1)


async def test_the_content_type_may_have_parameters(gateway: Served) -> None:
    """A charset, and letters of either case, do not change what application/json is."""
    for kind in ("application/json; charset=utf-8", "Application/JSON", "application/json;charset=UTF-8"):
        assert (await post(gateway, EVENT, headers={"Content-Type": kind}))[0] == 202


DATA: list[Any] = [None, True, 0, -1.5, "", "text", [], {}, [1, [2, {"a": None}]], {"\r\nid: 1": 2}]
TEXTS = ["é€😀", "\u2028\u2029\u0085", "a\r\nb\rc\nd", "\0", "data: x\n\nevent: y", "\ufeff"]


@pytest.mark.parametrize("data", [*DATA, *TEXTS])
async def test_data_arrives_as_it_was_sent(gateway: Served, data: Any) -> None:
    """Any JSON comes out of the stream as it went in, whatever line ends and controls it holds."""
    async with Stream(gateway.url, "user=alice") as stream:
        assert (await post(gateway, EVENT | {"data": data}))[0] == 202
        await post(gateway, EVENT | {"event_type": "last"})
        assert json.loads((await stream.next()).data) == data
        assert (await stream.next()).type == "last"
        assert stream.ignored == []


async def test_all_fields_are_taken(gateway: Served) -> None:
    """Every documented field is read, and `retry` reaches the client."""
    full = OWN | {"id": "order-7", "occurred_at": "2025-01-02T03:04:05Z", "retry": 1234, "ttl": 60, "key": "k"}
    async with Stream(gateway.url, "user=alice") as stream:
        assert (await post(gateway, full, "/v1/events"))[0] == 202
        await stream.next()
        assert stream.retry == 1234


async def test_a_compressed_body_is_read(gateway: Served) -> None:
    """A body may come with Content-Encoding: gzip."""
    body = gzip.compress(json.dumps(EVENT).encode())
    assert (await post(gateway, body, headers={"Content-Encoding": "gzip"}))[0] == 202
    assert await kept(gateway) == [("x", {"a": 1})]


@pytest.mark.parametrize("user", ["a", "a@b.example", "A_1:2-3", "x" * 128, "7f6a3c0e-52e8-4c1c-9d0f-0a3c6c1d9d11"])
async def test_user_ids_of_the_grammar_are_taken(gateway: Served, user: str) -> None:
    """A UUID, an address and the longest id are all user ids, in the path as in the event."""
    assert (await post(gateway, EVENT, f"/v1/users/{user}/events"))[0] == 202
    assert (await post(gateway, EVENT | {"user_id": user}, "/v1/events"))[0] == 202
    assert len(await kept(gateway, f"user:{user}")) == 2


async def test_limits_are_exact() -> None:
    """An event, a batch and a body of exactly the limit are taken; one more is a 413 that names the setting."""
    async with served(max_event_bytes=1000, max_batch_events=5, max_body_bytes=5000) as small:
        fits = EVENT | {"data": "a" * 998}
        assert (await post(small, fits))[0] == 202
        assert (await post(small, [EVENT] * 5))[0] == 202
        body = json.dumps(EVENT).encode().ljust(5000)
        assert (await post(small, body))[0] == 202
        async with nothing_published(small):
            status, answer = await post(small, EVENT | {"data": "a" * 999})
            assert (status, answer["field"]) == (413, "data")
            assert "GATEWAY_MAX_EVENT_BYTES" in answer["detail"]
            status, answer = await post(small, [EVENT, EVENT | {"data": "a" * 999}])
            assert (status, answer["field"]) == (413, "[1].data")
            status, answer = await post(small, [EVENT] * 6)
            assert status == 413
            assert "GATEWAY_MAX_BATCH_EVENTS" in answer["detail"]
            status, answer = await post(small, b"\n".join([json.dumps(OWN).encode()] * 6), headers=NDJSON)
            assert status == 413
            status, answer = await post(small, body + b" ")
            assert status == 413
            assert "5000" in answer["detail"]


async def test_bytes_count_and_not_characters() -> None:
    """The size of an event is that of its UTF-8."""
    async with served(max_event_bytes=1000) as small:
        assert (await post(small, EVENT | {"data": "€" * 332}))[0] == 202  # 996 and two quotes
        assert (await post(small, EVENT | {"data": "€" * 333}))[0] == 413


async def test_a_chunked_body_is_bounded_too() -> None:
    """A body that does not say its length ends at the limit."""

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 1000

    async with (
        served(max_event_bytes=1000, max_body_bytes=5000) as small,
        small.http.post("/v1/broadcast", data=endless(), headers=JSON) as response,
    ):
        assert response.status == 413


async def test_a_decompression_bomb_is_bounded() -> None:
    """It is the decompressed body that counts."""
    bomb = gzip.compress(b" " * 50_000_000)
    async with served(max_event_bytes=1000, max_body_bytes=100_000) as small:
        assert len(bomb) < 100_000
        assert (await post(small, bomb, headers={"Content-Encoding": "gzip"}))[0] == 413


async def test_an_idempotency_key_gives_the_first_answer(gateway: Served) -> None:
    """The same key again is answered as the first time, and there is one event."""
    headers = {"Idempotency-Key": "order-7"}
    first = await post(gateway, EVENT, headers=headers)
    assert await post(gateway, EVENT | {"data": "another"}, headers=headers) == first
    assert await kept(gateway) == [("x", {"a": 1})]
    assert (await post(gateway, EVENT, headers={"Idempotency-Key": "order-8"}))[1]["id"] != first[1]["id"]


async def test_an_idempotency_key_holds_for_its_channel(gateway: Served) -> None:
    """Two users may be sent events under the same key."""
    headers = {"Idempotency-Key": "same"}
    first = await post(gateway, EVENT, "/v1/users/alice/events", headers)
    second = await post(gateway, EVENT, "/v1/users/bob/events", headers)
    assert first[1]["id"] != second[1]["id"]


async def test_an_idempotency_key_covers_a_batch(gateway: Served) -> None:
    """A batch that is sent again gives the same ids in the same order, and no second events."""
    headers = {"Idempotency-Key": "batch"}
    batch = [EVENT | {"data": n} for n in range(3)]
    first = await post(gateway, batch, headers=headers)
    assert len({item["id"] for item in first[1]}) == 3
    assert await post(gateway, batch, headers=headers) == first
    assert len(await kept(gateway)) == 3


async def test_an_events_own_id_is_an_idempotency_key(gateway: Served) -> None:
    """An event that is sent twice with its own id is one event, alone or in a batch."""
    first = await post(gateway, EVENT | {"id": "evt-1"})
    assert await post(gateway, EVENT | {"id": "evt-1"}) == first
    _, [again, new] = await post(gateway, [EVENT | {"id": "evt-1"}, EVENT | {"id": "evt-2"}])
    assert again["id"] == first[1]["id"]
    assert new["id"] != again["id"]
    assert len(await kept(gateway)) == 2


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "a" * 257])
async def test_a_bad_idempotency_key_is_refused(gateway: Served, key: str) -> None:
    """A key that could not be kept as it is, is refused by name."""
    async with nothing_published(gateway), gateway.wire() as (reader, writer):
        body = json.dumps(EVENT).encode()
        head = b"POST /v1/broadcast HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nIdempotency-Key: "
        writer.write(head + key.encode() + b"\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        answer = await reader.readuntil(b"}")
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b'"field": "Idempotency-Key"' in answer


async def test_a_broker_that_is_away_is_a_503() -> None:
    """503 with Retry-After, within the publish timeout, and honest about what is not known."""
    url = f"redis://127.0.0.1:{free_port()}"
    async with served(broker_url=url, publish_timeout=0.5) as alone:
        async with alone.http.post("/v1/broadcast", json=EVENT) as response:
            assert response.status == 503
            assert int(response.headers["Retry-After"]) >= 1
            assert response.content_type == "application/problem+json"
            answer = await response.json()
        assert answer["type"] == "urn:event-gateway:problem:broker-unavailable"
        assert "not known" in answer["detail"]
        text = alone.gateway.metrics.render().decode()
        assert 'gateway_events_published_total{kind="broadcast",outcome="unavailable"} 1.0' in text


async def test_a_bad_event_is_a_400_even_without_a_broker() -> None:
    """What is wrong with an event does not depend on the broker."""
    async with served(broker_url=f"redis://127.0.0.1:{free_port()}") as alone:
        assert (await post(alone, {"data": 1}))[0] == 400


async def test_without_retention_there_is_no_id() -> None:
    """With retention off the answer's id is null, and the event is delivered without one."""
    async with served(retention=False) as forgetful, Stream(forgetful.url, "user=alice") as stream:
        assert await post(forgetful, EVENT) == (202, {"id": None, "receivers": 1})
        await stream.next()
        assert b"id:" not in stream.raw
