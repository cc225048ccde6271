"""`GET /v1/events`: what a client is answered, and what it listens to."""

from __future__ import annotations

import json
import re

import pytest
from servers import until
from streams import Stream
from web.inprocess import Served, bearer, claims, last_arrived, refusal, served, token

from gateway.config import PublishKey
from gateway.web.refusal import jittered

KEYS = (PublishKey("all", "key-for-all"),)
RETRY_BLOCK = re.compile(rb"retry: (\d+)\n\n")
FIRST_BLOCKS = re.compile(rb"retry: (\d+)\n\nid: (\d+-\d+)\n\n")
EVENT_BLOCK = re.compile(rb"id: (\d+-\d+)\nevent: ([^\n]+)\ndata: ([^\n]*)\n\n")


async def test_the_headers_are_those_promised(gateway: Served) -> None:
    """Browsers, proxies and caches are told what this is, and nothing compresses or buffers it."""
    async with Stream(gateway.url, "user=alice", headers={"Accept-Encoding": "gzip, deflate, br"}) as stream:
        assert stream.status == 200
        assert stream.headers["Content-Type"] == "text/event-stream"
        assert stream.headers["Cache-Control"] == "no-store"
        assert stream.headers["X-Accel-Buffering"] == "no"
        assert not {"Content-Encoding", "Content-Length", "ETag", "Set-Cookie"} & stream.headers.keys()


async def test_the_first_bytes_are_retry_and_the_cursor(gateway: Served) -> None:
    """A stream begins with the reconnection time and an id-only block, so a client that saw nothing has a cursor."""
    before = await gateway.publish("somebody")
    async with Stream(gateway.url, "user=alice") as stream:
        assert await stream.position() == before
        assert FIRST_BLOCKS.fullmatch(bytes(stream.raw))
        assert stream.events == []


async def test_an_event_is_one_block(gateway: Served) -> None:
    """On the wire an event is id, event and data, in these bytes."""
    async with Stream(gateway.url, "user=alice") as stream:
        first = len(stream.raw) or (len(await stream.position()) and len(stream.raw))
        id = await gateway.publish("alice", "order.paid", {"ä": [1, None]})
        await stream.next()
        assert stream.raw[first:] == f'id: {id}\nevent: order.paid\ndata: {{"ä":[1,null]}}\n\n'.encode()


async def test_data_of_several_lines_is_several_data_lines() -> None:
    """A string with line ends stays one JSON line, and forges no block."""
    async with served() as gateway, Stream(gateway.url, "user=alice") as stream:
        await gateway.publish("alice", data="a\n\nid: 1\nevent: forged\ndata: x")
        event = await stream.next()
        assert json.loads(event.data) == "a\n\nid: 1\nevent: forged\ndata: x"
        assert stream.types == ["x"]


async def test_without_retention_there_is_no_cursor() -> None:
    """With retention off a stream begins with retry alone, and its events carry no id."""
    async with served(retention=False) as gateway, Stream(gateway.url, "user=alice", cursor="1-0") as stream:
        await gateway.publish("alice")
        await stream.next()
        assert re.fullmatch(rb"retry: \d+\n\nevent: x\ndata: null\n\n", bytes(stream.raw))


async def test_retry_is_spread_around_the_setting() -> None:
    """Clients that left together are told to return at different times, within half of the setting."""
    async with served(retry_ms=1000, max_connections_per_user=0) as gateway:
        told = []
        for _ in range(30):
            async with Stream(gateway.url, "user=alice") as stream:
                await stream.position()
                assert stream.retry is not None
                told.append(stream.retry)
        assert all(500 <= retry <= 1500 for retry in told)
        assert len(set(told)) > 5


def test_jitter_keeps_its_range() -> None:
    """Whatever is jittered stays between half and one and a half of it, and uses that range."""
    values = [jittered(3000) for _ in range(2000)]
    assert 1500 <= min(values) < 1700
    assert 4300 < max(values) <= 4500


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_other_methods_are_refused(gateway: Served, method: str) -> None:
    """A HEAD would hold a connection that nobody reads: only GET opens a stream (and POST publishes)."""
    async with gateway.http.request(method, "/v1/events?user=alice") as response:
        assert response.status == 405
        assert "GET" in response.headers["Allow"]
    assert gateway.gateway.hub.connections == set()


async def test_an_old_client_gets_a_plain_body(gateway: Served) -> None:
    """HTTP/1.0 knows no chunks: the body is the stream itself, and ends with the connection."""
    async with gateway.wire() as (reader, writer):
        writer.write(b"GET /v1/events?user=alice HTTP/1.0\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert re.match(rb"HTTP/1\.[01] 200 ", head)
        assert b"chunked" not in head.lower()
        begin = await reader.readuntil(b"\n\n") + await reader.readuntil(b"\n\n")
        assert FIRST_BLOCKS.fullmatch(begin)
        id = await gateway.publish("alice", data=1)
        assert await reader.readuntil(b"\n\n") == f"id: {id}\nevent: x\ndata: 1\n\n".encode()
        await gateway.publish("alice", "x", 2)
        match = EVENT_BLOCK.fullmatch(await reader.readuntil(b"\n\n"))
        assert match is not None
        assert match[3] == b"2"


async def test_an_old_client_replays_the_same(gateway: Served) -> None:
    """History reaches an HTTP/1.0 client as it does any other."""
    for number in range(3):
        await gateway.publish("alice", data=number)
    async with gateway.wire() as (reader, writer):
        writer.write(b"GET /v1/events?user=alice&last_event_id=earliest HTTP/1.0\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        assert RETRY_BLOCK.fullmatch(await reader.readuntil(b"\n\n"))
        got = [EVENT_BLOCK.fullmatch(await reader.readuntil(b"\n\n")) for _ in range(3)]
        assert [match[3] for match in got if match] == [b"0", b"1", b"2"]


async def test_each_of_a_users_streams_gets_the_event(gateway: Served) -> None:
    """Two tabs of one user both see it; another user does not."""
    async with (
        Stream(gateway.url, "user=alice") as one,
        Stream(gateway.url, "user=alice") as two,
        Stream(gateway.url, "user=bob") as other,
    ):
        id = await gateway.publish("alice")
        assert (await one.next()).last_event_id == (await two.next()).last_event_id == id
        await last_arrived(gateway, other, "bob")
        assert other.events == []


FILTERS = [
    ("types=a", ["a", "a"]),
    ("types=a,b.c", ["a", "b.c", "a"]),
    ("types=a&types=b.d", ["a", "b.d", "a"]),
    ("types=b.*", ["b.c", "b.d"]),
    ("types=*", ["a", "b.c", "b.d", "bb", "a"]),
    ("types=", ["a", "b.c", "b.d", "bb", "a"]),
    ("types=A", []),
    ("types=b", []),
]


@pytest.mark.parametrize("replayed", [False, True])
@pytest.mark.parametrize(("query", "expected"), FILTERS)
async def test_types_filter_live_and_replayed(gateway: Served, query: str, expected: list[str], replayed: bool) -> None:
    """`types=` takes exact types and prefixes, and means the same for history as for what comes live."""

    async def publish_all() -> str:
        return [await gateway.publish("alice", each) for each in ("a", "b.c", "b.d", "bb", "a")][-1]

    start = await gateway.publish("alice", "before")
    if replayed:
        last = await publish_all()
    wants_all = query in ("types=", "types=*")
    async with Stream(gateway.url, f"user=alice&{query}" + ("" if wants_all else ",last"), cursor=start) as stream:
        if not replayed:
            last = await publish_all()
        await last_arrived(gateway, stream)
        assert stream.types == expected
    assert last > start


async def test_a_filtered_client_keeps_its_cursor_young() -> None:
    """What a client does not want still moves its cursor, by the heartbeat."""
    async with served(heartbeat_interval=0.3) as gateway, Stream(gateway.url, "user=alice&types=rare") as stream:
        await stream.position()
        id = await gateway.publish("alice", "common")
        await until(lambda: stream.last_event_id == id, what="the heartbeat hands over the tip")
        assert stream.events == []


@pytest.mark.parametrize("types", ["a b", "a,b c", "*.a", "a*", "é", "a%0Ab", "a" * 131])
async def test_a_bad_filter_is_refused(gateway: Served, types: str) -> None:
    """A filter that could never match is a mistake that is told."""
    status, answer = await refusal(gateway, f"user=alice&types={types}")
    assert (status, answer["field"]) == (400, "types")


ALLOWED = [
    ([], "news", False),
    (["news"], "news", True),
    (["news"], "news.eu", False),
    (["news.*"], "news.eu", True),
    (["news.*"], "news.eu.fr", True),
    (["news.*"], "news", False),
    (["news.*"], "newsflash", False),
    (["*"], "anything", True),
    (["orders.*", "news"], "news", True),
    (["NEWS"], "news", False),
    (["*.eu"], "news.eu", False),
    (["n*"], "news", False),
]


@pytest.mark.parametrize(("patterns", "topic", "allowed"), ALLOWED)
async def test_a_token_reads_the_topics_of_its_claim(
    secured: Served, patterns: list[str], topic: str, allowed: bool
) -> None:
    """A topic that the claim does not include is a 403 that names it."""
    shown = token(claims(topics=patterns))
    if allowed:
        async with Stream(secured.url, f"topic={topic}", token=shown) as stream:
            body = {"event_type": "x", "data": 1}
            await secured.http.post(f"/v1/topics/{topic}/events", json=body, headers=bearer("key-for-all"))
            assert (await stream.next()).data == "1"
    else:
        status, answer = await refusal(secured, f"topic={topic}", **bearer(shown))
        assert (status, answer["field"]) == (403, "topic")
        assert topic in answer["detail"]


async def test_one_forbidden_topic_refuses_the_stream(secured: Served) -> None:
    """A stream is never opened with less than was asked for."""
    status, _ = await refusal(secured, "topic=news&topic=orders", **bearer(token(claims(topics=["news"]))))
    assert status == 403
    assert secured.gateway.hub.connections == set()
    assert not secured.gateway.registry.here("alice")


async def test_a_user_channel_cannot_be_asked_for_as_a_topic(gateway: Served) -> None:
    """A topic called like somebody's channel is only a topic."""
    async with Stream(gateway.url, "user=alice&topic=user:bob&topic=broadcast") as stream:
        await gateway.publish("bob")
        await last_arrived(gateway, stream)
        assert stream.events == []


@pytest.mark.parametrize("topic", ["", "a b", "*", "a*", "..", "a%0Ab", "a%00", "a%2Fb", "%C3%A9", "a" * 129])
async def test_a_bad_topic_is_refused(gateway: Served, topic: str) -> None:
    """Patterns and control characters are no topics."""
    status, answer = await refusal(gateway, f"user=alice&topic={topic}")
    assert (status, answer["field"]) == (400, "topic")


async def test_the_number_of_topics_is_limited() -> None:
    """As many topics as GATEWAY_MAX_TOPICS are taken, one more is a 400 that names the setting."""
    async with served(max_topics=3) as gateway:
        async with Stream(gateway.url, "user=alice&topic=a&topic=b&topic=c"):
            pass
        status, answer = await refusal(gateway, "user=alice&topic=a&topic=b&topic=c&topic=d")
        assert status == 400
        assert "GATEWAY_MAX_TOPICS" in answer["detail"]


async def test_a_topic_asked_for_twice_is_delivered_once(gateway: Served) -> None:
    """Repeating a topic does not repeat its events."""
    async with Stream(gateway.url, "user=alice&topic=a&topic=a") as stream:
        await gateway.http.post("/v1/topics/a/events", json={"event_type": "x", "data": 1})
        await last_arrived(gateway, stream)
        assert stream.types == ["x"]
