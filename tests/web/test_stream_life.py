"""`GET /v1/events`: who gets in, what keeps a stream going, and how it ends."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time

import pytest
from servers import HOST, free_port, until
from streams import Stream, assert_clean
from structlog.testing import capture_logs
from web.inprocess import SECRET, Served, bearer, claims, closed_because, refused_because, served, token

from gateway.config import PublishKey
from gateway.relay import LOOK_AT_SOCKET_EVERY
from gateway.telemetry.logging import user_hash

KEYS = (PublishKey("all", "key-for-all"),)
RETRY_BLOCK = re.compile(rb"retry: (\d+)\n\n")
FIRST_BLOCKS = re.compile(rb"retry: (\d+)\n\nid: (\d+-\d+)\n\n")
EVENT_BLOCK = re.compile(rb"id: (\d+-\d+)\nevent: ([^\n]+)\ndata: ([^\n]*)\n\n")


async def test_an_eventsource_without_room_is_told_to_come_back() -> None:
    """An EventSource gives up for good on a 503, so it gets a stream that says when to retry, and ends."""
    async with served(max_connections=2, retry_ms=1000) as gateway:
        async with Stream(gateway.url, "user=a"), Stream(gateway.url, "user=b"):
            async with Stream(gateway.url, "user=c") as refused:
                await refused.end()
                match = RETRY_BLOCK.fullmatch(bytes(refused.raw))
                assert match is not None
                assert 500 <= int(match[1]) <= 1500
                assert not refused.cut
                assert refused.headers["Content-Type"] == "text/event-stream"
                assert refused.headers["Cache-Control"] == "no-store"
            assert not gateway.gateway.registry.here("c")
            async with gateway.http.get("/v1/events?user=c", headers={"Accept": "*/*"}) as response:
                assert response.status == 503
                assert int(response.headers["Retry-After"]) in (1, 2)
                assert response.content_type == "application/problem+json"
                assert (await response.json())["type"] == "urn:event-gateway:problem:at-capacity"
        refusals = refused_because(gateway, "max_connections")
        assert refusals == 2
        await until(lambda: not gateway.gateway.hub.connections)
        async with Stream(gateway.url, "user=c") as welcome:
            await welcome.position()


async def test_one_user_does_not_take_all_room() -> None:
    """A user has so many streams at most; others are not touched, and a place that was left is free again."""
    async with served(max_connections_per_user=2) as gateway:
        async with Stream(gateway.url, "user=a") as one, Stream(gateway.url, "user=a"):
            async with Stream(gateway.url, "user=a") as refused:
                await refused.end()
                assert RETRY_BLOCK.fullmatch(bytes(refused.raw))
            async with Stream(gateway.url, "user=b") as other:
                await other.position()
            await one.close()
            await until(lambda: gateway.gateway.registry.here("a") == 1)
            async with Stream(gateway.url, "user=a") as again:
                await again.position()
        assert refused_because(gateway, "max_connections_per_user") == 1


async def test_limits_hold_for_streams_that_come_at_once() -> None:
    """Fifty connects in one moment do not get past a limit of ten."""
    async with served(max_connections=10, max_connections_per_user=0) as gateway:
        streams = [Stream(gateway.url, f"user=u{number % 3}") for number in range(50)]
        await asyncio.gather(*(stream.open() for stream in streams))
        try:
            await until(lambda: sum(stream.ended_at is not None for stream in streams) == 40)
            assert len(gateway.gateway.hub.connections) == 10
        finally:
            await asyncio.gather(*(stream.close() for stream in streams))


async def test_a_draining_process_takes_no_streams(gateway: Served) -> None:
    """While it drains, an EventSource is sent elsewhere in the same way."""
    gateway.gateway.draining = True
    async with Stream(gateway.url, "user=a") as refused:
        await refused.end()
        assert RETRY_BLOCK.fullmatch(bytes(refused.raw))


async def test_a_client_that_leaves_is_forgotten(gateway: Served) -> None:
    """After a client left and the linger is over, nothing of it remains: no user, connection, channel."""
    state = gateway.gateway
    async with Stream(gateway.url, "user=alice&topic=a") as stream:
        await stream.position()
        assert state.registry.here("alice") == 1
        assert len(state.hub.connections) == 1
        assert set(state.hub.channels) == {"user:alice", "broadcast", "topic:a"}
    await until(lambda: not state.hub.connections, what="the connection is deregistered")
    await until(lambda: not state.hub.channels, what="its channels are dropped")
    assert not state.registry.here("alice")
    assert closed_because(gateway, "client_left") == 1
    assert await gateway.publish("alice")


async def test_a_client_that_never_read_is_forgotten(gateway: Served) -> None:
    """One that resets the connection, even before the headers, is deregistered like any other."""
    for _ in range(20):
        sock = socket.create_connection((HOST, gateway.port))
        sock.sendall(b"GET /v1/events?user=alice HTTP/1.1\r\nHost: x\r\n\r\n")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        sock.close()
    async with Stream(gateway.url, "user=last") as stream:
        await stream.position()
    await until(lambda: not gateway.gateway.hub.channels)
    assert not gateway.gateway.registry.here("alice")
    assert gateway.gateway.hub.connections == set()


async def test_the_line_about_a_stream_names_no_one(secured: Served) -> None:
    """One line when a stream ended: its reason, and the user as a hash; no token anywhere."""
    shown = token(claims("alice@example.org"))
    with capture_logs() as logs:
        async with Stream(secured.url, token=shown) as stream:
            await stream.position()
        await until(lambda: any(line["event"] == "stream.closed" for line in logs))
    [line] = [line for line in logs if line["event"] == "stream.closed"]
    assert line["reason"] == "client_left"
    assert line["user"] == user_hash("alice@example.org")
    assert "alice@example.org" not in repr(logs)
    assert not any(part in repr(logs) for part in shown.split("."))


async def test_the_stream_ends_with_its_token(secured: Served) -> None:
    """Shortly before its token the client is told, and the stream ends whole, at the right time."""
    ends = time.time() + 3.5
    async with Stream(secured.url, token=token({"sub": "alice", "exp": ends})) as stream:
        event = await stream.next(within=2)
        assert event.type == "gateway.expiring"
        assert 1 <= json.loads(event.data)["seconds"] <= 4
        ended = await stream.end(within=8)
        assert ends - 5 <= ended <= ends + 1
        assert not stream.cut
        assert stream.raw.endswith(b"\n\n")
    assert closed_because(secured, "token_expired") == 1


async def test_the_ends_of_streams_are_spread(secured: Served) -> None:
    """Tokens that end together do not end their streams together, and none outlives its token."""
    ends = time.time() + 4
    streams = [Stream(secured.url, token=token({"sub": f"u{n}", "exp": ends})) for n in range(20)]
    await asyncio.gather(*(stream.open() for stream in streams))
    try:
        ended = await asyncio.gather(*(stream.end(within=8) for stream in streams))
        assert ends - 5 <= min(ended) <= max(ended) <= ends + 1
        assert max(ended) - min(ended) > 0.5
    finally:
        await asyncio.gather(*(stream.close() for stream in streams))


async def test_a_token_that_has_just_ended_opens_no_stream(secured: Served) -> None:
    """Clocks are forgiven nothing at a token's end: its stream would be over as it began."""
    async with secured.http.get("/v1/events", headers=bearer(token(claims(seconds=-0.1)))) as response:
        assert response.status == 401


async def test_a_far_away_end_is_no_problem(secured: Served) -> None:
    """A token that ends in a thousand years, or beyond any clock, opens a stream."""
    for ends in (time.time() + 3.2e10, 1e18, 10**30):
        async with Stream(secured.url, token=token({"sub": "alice", "exp": ends})) as stream:
            await stream.position()
            assert stream.events == []


async def test_the_token_ends_the_stream_without_a_broker_too() -> None:
    """A stream that still waits for the broker ends with its token like any other."""
    url = f"redis://{HOST}:{free_port()}"
    async with served(broker_url=url, jwt_secret=SECRET, publish_keys=KEYS) as gateway:
        ends = time.time() + 4
        async with Stream(gateway.url, token=token({"sub": "alice", "exp": ends})) as stream:
            ended = await stream.end(within=7)
            assert ends - 5 <= ended <= ends + 1
            assert not stream.cut


async def test_old_connections_are_closed_to_rebalance() -> None:
    """With GATEWAY_MAX_CONNECTION_AGE a stream ends, whole, at a jittered age."""
    async with served(max_connection_age=1.0) as gateway:
        streams = [Stream(gateway.url, f"user=u{number}") for number in range(20)]
        opened = time.time()
        await asyncio.gather(*(stream.open() for stream in streams))
        try:
            ages = [await stream.end() - opened for stream in streams]
            assert 0.4 <= min(ages) <= max(ages) <= 2.2
            assert len({round(age, 2) for age in ages}) > 5
            assert not any(stream.cut for stream in streams)
        finally:
            await asyncio.gather(*(stream.close() for stream in streams))
        assert closed_because(gateway, "max_connection_age") == 20


async def test_a_quiet_stream_beats_and_keeps_its_cursor_young() -> None:
    """When nothing else is sent a comment is, with the tip's id, and no event comes of it."""
    async with served(heartbeat_interval=0.3) as gateway, Stream(gateway.url, "user=alice") as stream:
        await until(lambda: stream.comments >= 3, within=3)
        id = await gateway.publish("bob")
        await until(lambda: stream.last_event_id == id, within=3, what="the heartbeat hands over the tip")
        assert stream.events == []
        assert stream.ignored == []


async def test_a_client_that_takes_nothing_is_dropped() -> None:
    """After GATEWAY_SEND_TIMEOUT without reading a client is cut off, and nobody else has waited for it."""
    async with served(send_timeout=0.5, max_event_bytes=20_000, max_buffer_bytes=40_000) as gateway:
        with socket.create_connection((HOST, gateway.port)) as stalled:
            stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stalled.sendall(b"GET /v1/events?user=alice HTTP/1.1\r\nHost: x\r\n\r\n")
            await until(lambda: len(gateway.gateway.hub.connections) == 1)
            async with Stream(gateway.url, "user=alice") as healthy:
                batch = [{"event_type": "x", "data": "a" * 15_000}] * 400
                for start in range(0, 400, 40):
                    body = batch[start : start + 40]
                    async with gateway.http.post("/v1/users/alice/events", json=body) as response:
                        assert response.status == 202
                await healthy.count(400)
                await until(lambda: len(gateway.gateway.hub.connections) == 1, what="the stalled client is dropped")
                # Two watch for it, for the same time: the gateway, and the kernel (TCP_USER_TIMEOUT).
                assert closed_because(gateway, "stalled") or closed_because(gateway, "client_left")
                assert healthy.ended_at is None


@pytest.mark.parametrize("pause", [0, 2.2 * LOOK_AT_SOCKET_EVERY], ids=["soon", "after the gateway looked twice"])
async def test_a_slow_client_gets_everything_from_history(pause: float) -> None:
    """A client that did not read for a while gets all of it in the end, once and in order, without a gap."""
    settings = {"max_event_bytes": 20_000, "max_buffer_bytes": 40_000, "tail_bytes": 200_000}
    async with served(**settings) as gateway, gateway.wire() as (reader, writer):
        writer.write(b"GET /v1/events?user=alice HTTP/1.0\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        for start in range(0, 800, 40):
            batch = [{"event_type": "x", "data": [number, "a" * 10_000]} for number in range(start, start + 40)]
            async with gateway.http.post("/v1/users/alice/events", json=batch) as response:
                assert response.status == 202
        assert gateway.gateway.hub.stats.fell_behind >= 1
        await asyncio.sleep(pause)
        got: list[int] = []
        while len(got) < 800:
            block = await reader.readuntil(b"\n\n")
            if b"data: " in block:
                got.append(json.loads(block.split(b"data: ")[1])[0])
        assert_clean(got, range(800))
        assert gateway.gateway.hub.stats.gaps_told == 0


async def test_a_stream_opens_while_the_broker_is_away() -> None:
    """Without a broker the client still gets its 200 and stays, rather than hammering the gateway."""
    async with served(broker_url=f"redis://{HOST}:{free_port()}", heartbeat_interval=0.3) as gateway:
        async with Stream(gateway.url, "user=alice") as stream:
            await until(lambda: stream.retry is not None)
            await until(lambda: stream.comments >= 2, what="heartbeats come")
            assert stream.ended_at is None
        await until(lambda: not gateway.gateway.hub.connections)
        assert not gateway.gateway.registry.here("alice")
