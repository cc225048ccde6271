"""Redis goes and comes back: publishers are told, clients stay, and nothing that was acknowledged is lost."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from uuid import uuid4

import aiohttp
import pytest
import pytest_asyncio
from integration.helping import numbers, over, post, publishing, status_of, two_gateways
from proxy import Proxy
from servers import GatewayProcess, RedisServer, until
from streams import Stream, assert_clean
from structlog.testing import capture_logs

from gateway.client import SSEEvent, get_sse_publisher

EVENT = {"event_type": "x", "data": 1}


@pytest_asyncio.fixture
async def gateway(redis_server: RedisServer, prefix: str) -> AsyncIterator[GatewayProcess]:
    settings = over(redis_server.url, prefix, GATEWAY_HEARTBEAT_INTERVAL="1")
    async with GatewayProcess(settings, "--dev") as process:
        yield process


async def ready(gateway: GatewayProcess) -> bool:
    return (await status_of(gateway.url, "/readyz"))[0] == 200


async def unready(gateway: GatewayProcess) -> bool:
    return not await ready(gateway)


async def test_publishers_are_told_and_clients_stay(gateway: GatewayProcess, redis_server: RedisServer) -> None:
    """While Redis is away: 503 soon, not ready but alive, streams stay open; back again by itself."""
    async with Stream(gateway.url, "user=alice") as stream, aiohttp.ClientSession(gateway.url) as http:
        await post(gateway.url, "/v1/users/alice/events", EVENT)
        await stream.next()
        await redis_server.stop()

        began = time.monotonic()
        async with http.post("/v1/users/alice/events", json=EVENT) as response:
            assert response.status == 503
            assert time.monotonic() - began < 5
            assert int(response.headers["Retry-After"]) >= 1
            assert response.content_type == "application/problem+json"
            assert (await response.json())["type"] == "urn:event-gateway:problem:broker-unavailable"
        await until(lambda: unready(gateway), within=5)
        _, answer = await status_of(gateway.url, "/readyz")
        assert any(reason.startswith("broker: ") for reason in answer["reasons"])
        assert (await status_of(gateway.url, "/livez"))[0] == 200
        comments = stream.comments
        await until(lambda: stream.comments > comments + 1, what="heartbeats go on")
        assert stream.ended_at is None

        await redis_server.start()
        await until(lambda: ready(gateway), within=5)
        await post(gateway.url, "/v1/users/alice/events", EVENT | {"event_type": "after"})
        assert (await stream.next()).type == "after"
        assert stream.types == ["x", "after"]


@pytest.mark.parametrize("way", ["redis", "http"])
async def test_the_python_client_returns_and_logs(
    gateway: GatewayProcess, redis_server: RedisServer, way: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backend service is not held up and sees no exception; a line of its log says what was not published."""
    monkeypatch.setenv("GATEWAY_CHANNEL_PREFIX", prefix)
    url = redis_server.url if way == "redis" else gateway.url
    event = SSEEvent(event_type="x", user_id="alice", data={})
    with capture_logs() as logs:
        async with get_sse_publisher(url, budget=1.0) as publisher:
            await publisher.publish(event)
            assert publisher.stats.published == 1
            await redis_server.stop()
            for _ in range(20):
                began = time.monotonic()
                await publisher.publish(event)
                assert time.monotonic() - began < 1.5
            assert publisher.stats.failed >= 1
            assert publisher.stats.failed + publisher.stats.skipped == 20
    assert "sse.publish_failed" in [line["event"] for line in logs]
    assert "alice" not in repr(logs)


@pytest.mark.parametrize("end", ["stopped", "killed"])
async def test_what_came_before_the_link_was_back_is_not_lost(
    gateway: GatewayProcess, redis_server: RedisServer, end: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process publishes as soon as Redis is back; the gateway reads what it did not hear, in order."""
    monkeypatch.setenv("GATEWAY_CHANNEL_PREFIX", prefix)
    async with Stream(gateway.url, "user=alice") as stream, Stream(gateway.url, "user=bob") as other:
        await post(gateway.url, "/v1/users/alice/events", {"event_type": "number", "data": 0})
        await stream.next()
        if end == "stopped":
            await redis_server.stop()
        else:
            redis_server.kill()
        await until(lambda: unready(gateway), within=5)
        redis_server.spawn()
        async with get_sse_publisher(redis_server.url) as publisher:
            await until(redis_server.answers)
            for number in range(1, 101):
                await publisher.publish(SSEEvent("number", "alice", number))
            assert publisher.stats.published == 100
        await post_until_taken(gateway.url, {"event_type": "number", "data": 101})
        await stream.count(102, within=10)
        assert_clean(numbers(stream), range(102))
        assert other.events == []
        assert stream.ended_at is None
    async with stream.resumed() as resumed:
        await post(gateway.url, "/v1/users/alice/events", {"event_type": "number", "data": 102})
        await resumed.next()
        assert resumed.types == ["number"]


async def test_what_was_published_behind_its_back_is_not_lost(
    redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway is cut off from a Redis that others still use: it reads what it missed, in order, for its clients."""
    monkeypatch.setenv("GATEWAY_CHANNEL_PREFIX", prefix)
    async with (
        Proxy(int(redis_url.rpartition(":")[2])) as proxy,
        GatewayProcess(over(proxy.url, prefix), "--dev") as gateway,
        Stream(gateway.url, "user=alice&topic=t") as stream,
        Stream(gateway.url, "user=bob") as other,
        get_sse_publisher(redis_url) as publisher,
    ):
        await publisher.publish(SSEEvent("number", "alice", 0))
        await stream.next()
        await proxy.refuse()
        await until(lambda: unready(gateway), within=5)
        for number in range(1, 301):
            event = SSEEvent("number", "alice", number)
            await (publisher.broadcast(event) if number % 3 == 0 else publisher.publish(event))
        assert publisher.stats.published == 301
        await proxy.pass_on()
        await stream.count(301, within=10)
        await until(lambda: ready(gateway), within=5)
        await publisher.publish(SSEEvent("number", "alice", 301))
        await stream.count(302)
        assert_clean(numbers(stream), range(302))
        assert_clean(numbers(other), range(3, 301, 3))
        assert set(stream.types) == {"number"}


@pytest.mark.slow
async def test_crashes_under_load_are_clean(redis_server: RedisServer, prefix: str) -> None:
    """Redis is killed three times while two processes publish and deliver: every acknowledged number comes once."""
    settings = over(redis_server.url, prefix)
    async with (
        two_gateways(settings) as (one, two),
        Stream(one.url, "user=alice") as near,
        Stream(two.url, "user=alice") as far,
    ):
        async with publishing(one.url, two.url, per_second=200) as published:
            for crashes in range(4):
                if crashes:
                    await redis_server.restart()
                reached = len(published.acknowledged) + 50
                await until(lambda n=reached: len(published.acknowledged) >= n, within=15)  # type: ignore[misc]
        for stream in (near, far):
            await stream.count(len(published.acknowledged), within=15)
            assert_clean(numbers(stream), published.acknowledged)
            assert stream.ended_at is None


async def test_a_client_that_comes_while_redis_is_away_is_served_later(
    gateway: GatewayProcess, redis_server: RedisServer
) -> None:
    """It gets its 200 and waits; when Redis is back it gets what came after its cursor, without a gap."""
    async with Stream(gateway.url, "user=alice") as before:
        await post(gateway.url, "/v1/users/alice/events", {"event_type": "number", "data": 0})
        await before.next()
    await post(gateway.url, "/v1/users/alice/events", {"event_type": "number", "data": 1})
    await redis_server.stop()
    async with before.resumed() as stream:
        await until(lambda: stream.retry is not None)
        await redis_server.start()
        await post_until_taken(gateway.url, {"event_type": "number", "data": 2})
        await stream.count(2, within=10)
        assert stream.types == ["number"] * 2
        assert_clean(numbers(stream), [1, 2])


async def test_a_redis_that_lost_everything_is_a_gap(prefix: str) -> None:
    """Redis comes back empty (nothing was saved): the client is told, and goes on with what comes."""
    with RedisServer() as server:
        settings = over(server.url, prefix)
        async with GatewayProcess(settings, "--dev") as gateway, Stream(gateway.url, "user=alice") as stream:
            await post(gateway.url, "/v1/users/alice/events", EVENT)
            await stream.next()
            server.kill()
            server.spawn()
            await until(server.answers)
            await until(lambda: ready(gateway), within=10)
            await post_until_taken(gateway.url, EVENT | {"event_type": "after"})
            event = await stream.next_of("after", within=10)
            assert stream.types == ["x", "gateway.gap", "after"]
        async with (
            GatewayProcess(settings, "--dev") as another,
            Stream(another.url, "user=alice", cursor=event.last_event_id) as resumed,
        ):
            await post(another.url, "/v1/users/alice/events", EVENT | {"event_type": "later"})
            await resumed.next()
            assert resumed.types == ["later"]


@pytest.mark.slow
async def test_a_redis_that_hangs_is_noticed(gateway: GatewayProcess, redis_server: RedisServer) -> None:
    """SIGSTOP: the connections stay open and nothing answers; a publish is a 503 in time, and all comes back."""
    async with Stream(gateway.url, "user=alice") as stream, aiohttp.ClientSession(gateway.url) as http:
        await stream.position()
        redis_server.pause()
        try:
            began = time.monotonic()
            async with http.post("/v1/users/alice/events", json=EVENT) as response:
                assert response.status == 503
            assert time.monotonic() - began < 5
            await until(lambda: unready(gateway), within=6)
            assert (await status_of(gateway.url, "/livez"))[0] == 200
        finally:
            redis_server.resume()
        await until(lambda: ready(gateway), within=10)
        await post_until_taken(gateway.url, EVENT | {"event_type": "after"})
        await stream.next_of("after", within=10)
        assert "gateway.gap" not in stream.types


async def test_it_ends_while_redis_is_away(gateway: GatewayProcess, redis_server: RedisServer) -> None:
    """SIGTERM during an outage is an orderly end, also for a client that still waits for its position."""
    await redis_server.stop()
    async with Stream(gateway.url, "user=alice", cursor="1-0") as stream:
        await until(lambda: stream.retry is not None)
        began = time.monotonic()
        gateway.terminate()
        await stream.end(within=25)
        assert await gateway.wait() == 0
        assert time.monotonic() - began < 25
        assert not stream.cut
        assert "Traceback" not in gateway.log


async def test_it_starts_without_redis_and_recovers(redis_server: RedisServer, prefix: str) -> None:
    """A gateway that is started first is alive, not ready, and serves as soon as Redis is there."""
    await redis_server.stop()
    async with GatewayProcess(over(redis_server.url, prefix), "--dev", wait_for="/livez") as gateway:
        assert await unready(gateway)
        await redis_server.start()
        await until(lambda: ready(gateway), within=5)
        async with Stream(gateway.url, "user=alice") as stream:
            await post(gateway.url, "/v1/users/alice/events", EVENT)
            await stream.next()


async def post_until_taken(url: str, body: object) -> None:
    """Send the same until it is a 202: what a 503 left unknown is settled by the key."""
    key = {"Idempotency-Key": uuid4().hex}

    async def taken() -> bool:
        async with (
            aiohttp.ClientSession() as http,
            http.post(f"{url}/v1/users/alice/events", json=body, headers=key) as response,
        ):
            assert response.status in (202, 503)
            return response.status == 202

    await until(taken)
