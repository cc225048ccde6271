"""`GET /v1/events` with `Accept: application/x-ndjson`, and what is the same in every form."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lines import NDJSON, Poller, lines
from servers import until
from streams import Stream
from web.inprocess import SECRET, Served, bearer, claims, post, served, token

from gateway.app import drain

CLOUDEVENT = {"specversion": "1.0", "id": "7", "source": "/x", "type": "invoice.paid", "more": True, "data": {"a": 1}}


async def test_the_headers_are_those_of_a_stream(gateway: Served) -> None:
    """Only the content type differs."""
    async with lines(gateway.url, "user=alice") as stream:
        assert stream.headers["Content-Type"] == NDJSON
        assert stream.headers["Cache-Control"] == "no-store"
        assert stream.headers["X-Accel-Buffering"] == "no"


async def test_the_first_lines_are_retry_and_the_cursor(gateway: Served) -> None:
    before = await gateway.publish("somebody")
    async with lines(gateway.url, "user=alice") as stream:
        await until(lambda: len(stream.notes) == 2)
        assert re.fullmatch(rb'{"retry":\d+}\n{"cursor":"%b"}\n' % before.encode(), bytes(stream.raw))


async def test_an_event_is_a_line(gateway: Served) -> None:
    """Live, and replayed from a cursor, with the same filters."""
    async with lines(gateway.url, "user=alice&types=x") as stream:
        first = await gateway.publish("alice", "x", {"ä": [1, None]})
        await gateway.publish("alice", "y")
        last = await gateway.publish("alice", "x", "a\n\nid: 1\r\n\u2028")
        told = await stream.count(2)
    assert told == [
        {"id": first, "event_type": "x", "data": {"ä": [1, None]}},
        {"id": last, "event_type": "x", "data": "a\n\nid: 1\r\n\u2028"},
    ]
    assert stream.cursor == last
    async with lines(gateway.url, "user=alice&types=x", cursor=first) as again:
        assert await again.count(1) == told[1:]


async def test_a_gap_is_a_line(gateway: Served) -> None:
    id = await gateway.publish("alice")
    async with lines(gateway.url, "user=alice", cursor="nonsense") as stream:
        gap, event = await stream.count(2)
        assert (gap["event_type"], gap["data"]) == ("gateway.gap", {"requested": "nonsense", "oldest": id})
        assert event["id"] == id


async def test_a_quiet_stream_is_given_the_tip() -> None:
    """Its heartbeat is a note with a cursor; without retention an empty line."""
    async with served(heartbeat_interval=0.1) as gateway, lines(gateway.url, "user=alice") as stream:
        id = await gateway.publish("bob")
        await until(lambda: {"cursor": id} in stream.notes)
        assert stream.events == []
    async with served(heartbeat_interval=0.1, retention=False) as gateway, lines(gateway.url, "user=alice") as stream:
        await until(lambda: stream.empty >= 2)
        assert [list(note) for note in stream.notes] == [["retry"]]


async def test_a_drain_is_told_and_ends_it(gateway: Served) -> None:
    async with lines(gateway.url, "user=alice") as stream:
        await until(lambda: stream.cursor)
        await drain(gateway.gateway, 0)
        await until(lambda: stream.ended)
        [reconnect] = stream.events
        assert reconnect["event_type"] == "gateway.reconnect"
        assert reconnect["retry"] == reconnect["data"]["retry"]


async def test_the_end_of_a_token_is_told() -> None:
    async with served(jwt_secret=SECRET) as gateway:
        headers = {"Accept": NDJSON} | bearer(token(claims(seconds=2)))
        async with asyncio.timeout(10), gateway.http.get("/v1/events", headers=headers) as response:
            told = [json.loads(line) for line in (await response.text()).splitlines() if line]
        assert told[-1]["event_type"] == "gateway.expiring"


async def test_no_room_is_a_503(gateway: Served) -> None:
    """Only an EventSource needs to be told by a 200."""
    gateway.gateway.draining = True
    async with gateway.http.get("/v1/events?user=alice", headers={"Accept": NDJSON}) as response:
        assert response.status == 503
        assert int(response.headers["Retry-After"]) >= 1


async def test_an_old_client_gets_lines_without_chunks(gateway: Served) -> None:
    async with gateway.wire() as (reader, writer):
        writer.write(b"GET /v1/events?user=alice HTTP/1.0\r\nAccept: application/x-ndjson\r\n\r\n")
        assert b"chunked" not in (await reader.readuntil(b"\r\n\r\n")).lower()
        assert (await reader.readline()).startswith(b'{"retry":')
        await reader.readline()
        id = await gateway.publish("alice", data=1)
        assert json.loads(await reader.readline()) == {"id": id, "event_type": "x", "data": 1}


async def test_cloudevents_in_every_form(gateway: Served) -> None:
    """One that came as a CloudEvent leaves as one, with its attributes; the gateway's own are CloudEvents too."""
    query = "user=alice&format=cloudevents"
    poller = Poller(gateway.http, gateway.url, query)
    await poller.poll(wait=0)
    async with Stream(gateway.url, query) as stream, lines(gateway.url, query) as by_line:
        _, answer = await post(gateway, CLOUDEVENT, headers={"Content-Type": "application/cloudevents+json"})
        event = await stream.next()
        assert (event.type, event.last_event_id) == ("invoice.paid", answer["id"])
        expected = CLOUDEVENT | {"cursor": answer["id"]}
        assert json.loads(event.data) == expected
        assert await by_line.count(1) == [expected]
        assert (await poller.poll(wait=5))["events"] == [expected]
        await drain(gateway.gateway, 0)
        own = json.loads((await stream.next()).data)
        assert (own["specversion"], own["type"], own["source"]) == ("1.0", "gateway.reconnect", "/v1/events")


async def test_what_is_not_worth_replaying_is_in_no_form(gateway: Served) -> None:
    """Of events with the same key only the newest."""
    for number in range(3):
        await gateway.publish("alice", data=number, key="k")
    poller = Poller(gateway.http, gateway.url, "user=alice", "earliest")
    async with lines(gateway.url, "user=alice", cursor="earliest") as stream:
        assert [event["data"] for event in await stream.count(1)] == [2]
        assert [event["data"] for event in (await poller.poll(wait=5))["events"]] == [2]


async def test_others_share_their_bytes_as_before(gateway: Served) -> None:
    """Clients of other forms on a channel change nothing of what an event stream gets."""
    async with (
        Stream(gateway.url, "user=alice") as stream,
        lines(gateway.url, "user=alice") as by_line,
        Stream(gateway.url, "user=alice&format=cloudevents") as of_cloudevents,
    ):
        id = await gateway.publish("alice", "x", 1)
        for client in (stream, by_line, of_cloudevents):
            await client.count(1)
        assert bytes(stream.raw).endswith(f"id: {id}\nevent: x\ndata: 1\n\n".encode())
        kinds = [connection.plain for connection in gateway.gateway.hub.connections]
        assert sorted(kinds) == [False, False, True]


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
events = st.lists(
    st.fixed_dictionaries(
        {"event_type": st.from_regex(r"[A-Za-z0-9_.:-]{1,20}", fullmatch=True), "data": data},
        optional={"retry": st.integers(0, 5), "occurred_at": st.just("2026-01-01")},
    ).filter(lambda event: not str(event["event_type"]).startswith("gateway.")),
    min_size=1,
    max_size=8,
)


@pytest.mark.parametrize("query", ["", "&format=cloudevents"])
async def test_every_form_tells_the_same_events(query: str) -> None:
    """Whatever is published: by event stream, NDJSON and long poll, live and replayed, the same ids, types and data."""
    async with served() as gateway:
        url, loop = gateway.url, asyncio.get_running_loop()

        async def told(sent: list[dict[str, Any]], user: str) -> None:
            asked = f"user={user}{query}"
            poller = Poller(gateway.http, url, asked)
            cursor = (await poller.poll(wait=0))["cursor"]
            async with Stream(url, asked) as stream, lines(url, asked) as by_line:
                _, answer = await post(gateway, sent, f"/v1/users/{user}/events")
                ids = [receipt["id"] for receipt in answer]
                await stream.count(len(sent))
                await by_line.count(len(sent))
                await poller.count(len(sent))
            expected = [(id, event["event_type"], event["data"]) for id, event in zip(ids, sent, strict=True)]
            by_stream = [(e.last_event_id, e.type, json.loads(e.data)) for e in stream.events]
            if query:
                assert [data for _, _, data in by_stream] == by_line.events == poller.events
                by_stream = [(id, type, told["data"]) for id, type, told in by_stream]
            assert by_stream == expected
            assert of(by_line.events) == of(poller.events) == expected
            again = Poller(gateway.http, url, asked, cursor)
            async with Stream(url, asked, cursor=cursor) as replay, lines(url, asked, cursor=cursor) as by_line_again:
                assert of(await by_line_again.count(len(sent))) == of(await again.count(len(sent))) == expected
                assert [event.last_event_id for event in await replay.count(len(sent))] == ids

        users = iter(range(10**6))

        @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
        @given(sent=events)
        def same(sent: list[dict[str, Any]]) -> None:
            asyncio.run_coroutine_threadsafe(told(sent, f"user-{next(users)}"), loop).result(30)

        await asyncio.to_thread(same)


def of(told: list[dict[str, Any]]) -> list[tuple[Any, Any, Any]]:
    return [(e.get("cursor", e["id"]), e.get("event_type", e.get("type")), e["data"]) for e in told]
