"""Two gateways and one Redis: an event that reaches one reaches the clients of both, by every way in."""

from __future__ import annotations

import asyncio
import json
import random
import re
from uuid import UUID

import aiohttp
import pytest
from integration.helping import Pair, numbers, over, post, publishing, two_gateways
from redis.asyncio import Redis
from servers import GatewayProcess, RedisServer, until
from streams import Stream, assert_clean

from gateway.client import SSEEvent, get_sse_publisher

USER = UUID("7f6a3c0e-52e8-4c1c-9d0f-0a3c6c1d9d11")


async def test_an_event_published_on_one_arrives_on_the_other(pair: Pair) -> None:
    """HTTP in on one process, the same id out on both; the answer counts both."""
    async with Stream(pair.one.url, "user=alice") as near, Stream(pair.two.url, "user=alice") as far:
        answer = await post(pair.one.url, "/v1/users/alice/events", {"event_type": "x", "data": {"a": 1}})
        assert answer["receivers"] == 2
        for stream in (near, far):
            event = await stream.next()
            assert (event.type, event.data, event.last_event_id) == ("x", '{"a":1}', answer["id"])


async def test_broadcasts_and_topics_reach_both(pair: Pair) -> None:
    """A broadcast reaches everybody, a topic those who asked for it, on whichever process they are."""
    async with Stream(pair.one.url, "user=a&topic=orders.eu") as one, Stream(pair.two.url, "user=b") as two:
        await post(pair.two.url, "/v1/topics/orders.eu/events", {"event_type": "t", "data": 1})
        await post(pair.one.url, "/v1/broadcast", {"event_type": "b", "data": 2})
        assert [(await one.next()).type, (await one.next()).type] == ["t", "b"]
        assert (await two.next()).type == "b"
        assert two.types == ["b"]


@pytest.mark.parametrize("way", ["redis", "http"])
async def test_the_python_client_reaches_both(
    pair: Pair, way: str, redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backend service publishes with the client, over Redis or over HTTP, configured by its environment."""
    monkeypatch.setenv("GATEWAY_PUBLISHER_URL", redis_url if way == "redis" else pair.one.url)
    monkeypatch.setenv("GATEWAY_CHANNEL_PREFIX", prefix)
    event = SSEEvent(event_type="sync.accounts.completed", user_id=USER, data={"account_count": 3})
    async with (
        Stream(pair.one.url, f"user={USER}") as one,
        Stream(pair.two.url, f"user={USER}") as two,
        Stream(pair.two.url, "user=other") as other,
        get_sse_publisher() as publisher,
    ):
        await publisher.publish(event)
        await publisher.publish_to_user("other", event)
        await publisher.broadcast(SSEEvent(event_type="all", data=None))
        assert publisher.stats.published == 3
        for stream in (one, two, other):
            first, second = await stream.next(), await stream.next()
            assert (first.type, json.loads(first.data)) == ("sync.accounts.completed", {"account_count": 3})
            assert second.type == "all"
            assert first.last_event_id < second.last_event_id


async def test_a_plain_redis_publish_is_delivered(pair: Pair, redis_url: str, prefix: str) -> None:
    """Any language may PUBLISH an event by hand: live on both, without an id, and the cursor stays."""
    async with Stream(pair.one.url, "user=42") as one, Stream(pair.two.url, "user=42") as two:
        positions = [await one.position(), await two.position()]
        async with Redis.from_url(redis_url) as redis:
            assert await redis.publish(f"{prefix}:user:42", '{"event_type":"x","data":{}}') == 2
            assert await redis.publish(f"{prefix}:broadcast", '{"event_type":"y","data":[1]}') == 2
        for stream, position in zip((one, two), positions, strict=True):
            events = [await stream.next(), await stream.next()]
            assert {(event.type, event.data) for event in events} == {("x", "{}"), ("y", "[1]")}
            assert {event.last_event_id for event in events} == {position}


GARBAGE = [
    b"",
    b"hello",
    b"{",
    b"[]",
    b"null",
    b"\xff\xfe\xfd",
    b'{"event_type":"x"}',
    b'{"data":1}',
    b'{"event_type":"x\\ndata: forged","data":1}',
    b'{"event_type":"gateway.gap","data":{}}',
    b'{"event_type":"x","data":"\xff"}',
    b'{"event_type":"x","data":"\\ud800"}',
    b'{"event_type":"x","data":1e999}',
    b'{"event_type":"x","data":NaN}',
    b'{"event_type":"x","data":' + b"[" * 50_000 + b"}",
    b'{"event_type":"x","data":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    b'{"event_type":"x","data":' + b"9" * 6000 + b"}",
    b'{"event_type":"x","data":1,"id":"nonsense","previous":"nonsense"}',
    b'{"event_type":"x","data":1,"id":{},"previous":[]}',
    b'{"event_type":"x","data":1,"id":"1-1","previous":"0-0"}',
    b'{"event_type":1,"data":1}',
    b'{"event_type":"x","data":1,"unknown":1}',
]


async def test_garbage_on_the_channel_is_skipped(pair: Pair, redis_url: str, prefix: str) -> None:
    """Whatever is published on the gateways' channels by mistake, the events around it arrive, and only they."""
    async with Stream(pair.one.url, "user=42") as stream, Redis.from_url(redis_url) as redis:
        for number, garbage in enumerate(GARBAGE):
            await redis.publish(f"{prefix}:user:42", garbage)
            await post(pair.two.url, "/v1/users/42/events", {"event_type": "number", "data": number})
        await stream.count(len(GARBAGE))
        await post(pair.two.url, "/v1/users/42/events", {"event_type": "number", "data": len(GARBAGE)})
        await stream.count(len(GARBAGE) + 1)
        assert_clean(numbers(stream), range(len(GARBAGE) + 1))
        assert stream.types == ["number"] * (len(GARBAGE) + 1)
        assert stream.ignored == []
        assert "garbage_skipped" in pair.one.log
        assert "link_lost" not in pair.one.log
        assert "Traceback" not in pair.one.log


async def test_a_first_stream_on_a_new_redis_has_a_cursor(pair: Pair) -> None:
    """Also when nothing was ever published a client is handed a cursor, and resumes with it."""
    async with Stream(pair.one.url, "user=alice") as first:
        await first.position()
    await post(pair.one.url, "/v1/users/alice/events", {"event_type": "number", "data": 0})
    async with first.resumed() as second:
        await second.count(1)
        assert second.types == ["number"]


async def test_a_client_moves_between_gateways_while_events_come(pair: Pair) -> None:
    """With its Last-Event-ID a client goes back and forth and gets every number once, in order."""
    urls = (pair.one.url, pair.two.url)
    async with publishing(*urls, per_second=200) as published:
        stream = Stream(urls[0], "user=alice", cursor="earliest")
        seen = []
        for turn in range(20):
            async with stream:
                await stream.count(len(stream.events) + random.randint(1, 20))
            seen.append(stream)
            stream = Stream(urls[(turn + 1) % 2], "user=alice", cursor=stream.last_event_id)
    async with stream:
        got = len(numbers(*seen))
        await stream.count(len(published.acknowledged) - got)
        assert_clean(numbers(*seen, stream), published.acknowledged)
        assert published.failures == 0


@pytest.mark.slow
async def test_two_hundred_reconnects_are_clean(redis_url: str, prefix: str) -> None:
    """Ten clients that leave at any moment, 200 times in all, while 200 events a second come: nothing lost or twice."""
    settings = over(redis_url, prefix, GATEWAY_RETENTION_MAX_EVENTS="100000", GATEWAY_LINGER_SECONDS="0.1")

    async def wander(urls: list[str]) -> list[Stream]:
        streams = [Stream(random.choice(urls), "user=alice", cursor="earliest")]
        for _ in range(20):
            async with streams[-1] as stream:
                stays = asyncio.get_running_loop().time() + random.choice((0.0, 0.01, 0.1, 0.4))
                await until(lambda s=stream, t=stays: asyncio.get_running_loop().time() >= t or s.ended_at)  # type: ignore[misc]
            again = Stream(random.choice(urls), "user=alice", cursor=stream.last_event_id)
            streams.append(again)
        return streams

    async with two_gateways(settings) as (one, two):
        urls = [one.url, two.url]
        async with publishing(*urls, per_second=200) as published:
            await until(lambda: published.acknowledged)
            clients = await asyncio.gather(*(wander(urls) for _ in range(10)))
        assert len(published.acknowledged) > 200
        for streams in clients:
            got = numbers(*streams[:-1])
            async with streams[-1] as last:
                await last.count(len(published.acknowledged) - len(got), within=10)
                assert_clean(numbers(*streams), published.acknowledged)
            assert not any("gateway.gap" in stream.types for stream in streams)
            assert not any(stream.ignored for stream in streams)


async def test_a_gateway_that_crashes_loses_nothing(redis_url: str, prefix: str) -> None:
    """After SIGKILL a client goes to another gateway with its cursor, and nothing is missing."""
    settings = over(redis_url, prefix)
    async with two_gateways(settings) as (one, two):
        async with publishing(two.url) as published:
            async with Stream(one.url, "user=alice", cursor="earliest") as first:
                await first.count(20)
                one.kill()
                await first.end()
            async with Stream(two.url, "user=alice", cursor=first.last_event_id) as second:
                await second.count(20)
        async with Stream(two.url, "user=alice", cursor=second.last_event_id) as third:
            await third.count(len(published.acknowledged) - len(numbers(first, second)))
            assert_clean(numbers(first, second, third), published.acknowledged)


async def test_without_retention_it_is_live_only(redis_url: str, prefix: str) -> None:
    """GATEWAY_RETENTION=off: events reach both processes without an id, and nothing is stored."""
    settings = over(redis_url, prefix, GATEWAY_RETENTION="off")
    async with two_gateways(settings) as (one, two):
        async with Stream(two.url, "user=alice", cursor="1-0") as stream:
            answer = await post(one.url, "/v1/users/alice/events", {"event_type": "x", "data": 1})
            assert answer == {"id": None, "receivers": 1}
            await stream.next()
            assert b"id:" not in stream.raw
            assert stream.types == ["x"]
        async with Redis.from_url(redis_url) as redis:
            assert not [key async for key in redis.scan_iter(f"{prefix}:history:*")]


async def test_a_client_that_left_is_not_counted_any_more(pair: Pair) -> None:
    """In a process as `gateway serve` runs it, a stream ends when its client does, without any event being sent."""

    async def open_streams() -> float:
        async with aiohttp.ClientSession(pair.one.url) as http, http.get("/metrics") as response:
            found = re.search(r'^gateway_connections\{state="live"\} (\S+)$', await response.text(), re.MULTILINE)
            assert found is not None
            return float(found[1])

    async def has_two() -> bool:
        return await open_streams() == 2

    async def has_none() -> bool:
        return await open_streams() == 0

    async with Stream(pair.one.url, "user=alice"), Stream(pair.one.url, "user=alice"):
        await until(has_two)
    await until(has_none, within=5)


async def test_two_prefixes_share_a_redis(redis_url: str, prefix: str) -> None:
    """Installations with prefixes of their own do not hear each other."""
    async with (
        two_gateways(over(redis_url, prefix), over(redis_url, prefix + "-2")) as (one, two),
        Stream(one.url, "user=alice") as mine,
        Stream(two.url, "user=alice") as theirs,
    ):
        await post(two.url, "/v1/broadcast", {"event_type": "theirs", "data": 1})
        await post(one.url, "/v1/broadcast", {"event_type": "mine", "data": 1})
        assert (await mine.next()).type == "mine"
        assert (await theirs.next()).type == "theirs"


async def test_a_redis_with_a_password_is_used(prefix: str) -> None:
    """Credentials of the broker URL are used for both connections, and no log line shows them."""
    with RedisServer(requirepass="hunter2-of-the-tests") as server:
        url = server.url.replace("redis://", "redis://:hunter2-of-the-tests@")
        async with GatewayProcess(over(url, prefix), "--dev") as one, Stream(one.url, "user=alice") as stream:
            await post(one.url, "/v1/users/alice/events", {"event_type": "x", "data": 1})
            await stream.next()
            assert "hunter2" not in one.log


async def test_a_gateway_under_many_publishers_keeps_each_order(pair: Pair) -> None:
    """Twenty publishers at once on both processes: each one's events come in its order, all of them once."""
    async with Stream(pair.one.url, "user=alice") as stream, aiohttp.ClientSession() as http:

        async def publish(publisher: int) -> None:
            url = (pair.one, pair.two)[publisher % 2].url
            for number in range(25):
                body = {"event_type": f"p{publisher}", "data": number}
                async with http.post(f"{url}/v1/users/alice/events", json=body) as response:
                    assert response.status == 202

        await asyncio.gather(*(publish(publisher) for publisher in range(20)))
        await stream.count(500)
        for publisher in range(20):
            assert_clean(stream.data(f"p{publisher}"), range(25))
