"""The shipped HAProxy configuration in front of gateways: at once, whole, safe from outside, never fatal."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from deploy.gateways import PROMPT, StandIn, asked, status_of
from haproxy import HaproxyServer, needs_haproxy
from servers import HOST, free_port, until
from streams import Stream, assert_clean
from web.inprocess import Served, nothing_published, served

from gateway.config import Settings

RETRY = re.compile(r"retry: (\d+)\n\n")

pytestmark = needs_haproxy


@pytest_asyncio.fixture
async def haproxy(gateway: Served) -> AsyncIterator[HaproxyServer]:
    """Before that one gateway; of the two that are configured the other is down."""
    async with HaproxyServer(gateway.port) as running:
        yield running


def test_the_configuration_is_valid() -> None:
    """haproxy -c accepts it, without a warning."""
    said = HaproxyServer(free_port(), free_port()).check()
    assert "WARNING" not in said
    assert "ALERT" not in said


async def test_an_event_arrives_at_once(gateway: Served, haproxy: HaproxyServer) -> None:
    """What is published arrives long before the next heartbeat, and the headers of a stream come through."""
    async with Stream(haproxy.url, "user=alice", headers={"Accept-Encoding": "gzip, deflate, br"}) as stream:
        assert stream.headers["Content-Type"] == "text/event-stream"
        assert stream.headers["Cache-Control"] == "no-store"
        assert "Content-Encoding" not in stream.headers
        for number in range(3):
            id = await gateway.publish("alice", "number", number)
            event = await stream.next(within=PROMPT)
            assert (event.data, event.last_event_id) == (str(number), id)


async def test_a_client_resumes_through_haproxy(gateway: Served, haproxy: HaproxyServer) -> None:
    """Last-Event-ID reaches the gateway: what came meanwhile is there, once."""
    async with Stream(haproxy.url, "user=alice") as stream:
        await gateway.publish("alice", "number", 0)
        await stream.next()
    for number in (1, 2):
        await gateway.publish("alice", "number", number)
    async with stream.resumed() as again:
        await again.count(2)
    assert_clean(again.data(), [1, 2])


async def test_what_the_gateway_is_told_of_the_client() -> None:
    """Its address is HAProxy's word, not its own; the cursor, token and name of the site come through untouched."""
    gateway, port = StandIn(), free_port()
    sent = {
        "X-Forwarded-For": "1.2.3.4",
        "X-Forwarded-Proto": "gopher",
        "X-User-Id": "somebody-else",
        "Last-Event-ID": "1764000000000-0",
        "Authorization": "Bearer x",
    }
    unchecked = {"option httpchk GET /readyz": "option tcp-check"}
    async with gateway.listening(port), HaproxyServer(port, replace=unchecked) as haproxy:
        async with Stream(haproxy.url, "types=a.*", headers=sent):
            request = gateway.requests[0]
        assert request.version == aiohttp.HttpVersion11
        assert request.path_qs == "/v1/events?types=a.*"
        assert request.headers.getall("X-Forwarded-For") == [HOST]
        assert request.headers.getall("X-Forwarded-Proto") == ["http"]
        assert request.headers["Host"] == f"{HOST}:{haproxy.port}"
        assert request.headers["Last-Event-ID"] == "1764000000000-0"
        assert request.headers["Authorization"] == "Bearer x"
        assert not {"X-User-Id", "Accept", "Accept-Encoding"} & set(request.headers)


async def test_a_quiet_stream_outlives_the_timeouts() -> None:
    """Heartbeats are enough, on either side: here both timeouts are 1 s."""
    short = {"timeout client 60s": "timeout client 1s", "timeout server 45s": "timeout server 1s"}
    async with (
        served(heartbeat_interval=0.25) as gateway,
        HaproxyServer(gateway.port, replace=short) as haproxy,
        Stream(haproxy.url, "user=alice") as stream,
    ):
        await until(lambda: stream.comments > 12 or stream.ended_at is not None, what="3 s of heartbeats")
        assert stream.ended_at is None


async def test_a_gateway_that_hangs_loses_its_clients() -> None:
    """One that sends no heartbeat any more is given up, and its clients come back elsewhere."""
    gateway, port = StandIn(), free_port()
    hasty = {"timeout server 45s": "timeout server 1s", "option httpchk GET /readyz": "option tcp-check"}
    async with (
        gateway.listening(port),
        HaproxyServer(port, replace=hasty) as haproxy,
        Stream(haproxy.url) as stream,
    ):
        await stream.end()


# A gateway that is away, full, or leaving


@pytest.mark.parametrize("known", [True, False])
async def test_without_a_gateway_the_answer_is_not_fatal(known: bool) -> None:
    """An EventSource gets 200 and an event stream that says when to come back, whether or not it was noticed yet."""
    async with HaproxyServer(free_port(), free_port(), check_every="50ms" if known else "1h") as haproxy:
        if known:
            await until(lambda: "backend streams has no server" in haproxy.log)
        retries = set()
        for _ in range(20 if known else 1):  # else each waits for a second try
            status, headers, body = await asked(haproxy.url)
            assert status == 200
            assert headers["Content-Type"] == "text/event-stream"
            assert headers["Cache-Control"] == "no-store"
            assert "Access-Control-Allow-Origin" not in headers
            match = RETRY.fullmatch(body)
            assert match is not None, body
            retries.add(int(match[1]))
        middle = Settings(dev=True).retry_ms
        assert middle * 0.5 <= min(retries) <= max(retries) <= middle * 1.5
        assert len(retries) > 2 if known else retries == {middle}


async def test_a_page_of_an_allowed_origin_may_read_that_answer() -> None:
    """The answer in the gateway's place passes the CORS check for the origin that is named, and for no other."""
    async with HaproxyServer(free_port()) as haproxy:
        _, headers, _ = await asked(haproxy.url, Origin="https://app.example.com")
        assert headers["Access-Control-Allow-Origin"] == "https://app.example.com"
        assert headers["Access-Control-Allow-Credentials"] == "true"
        _, headers, _ = await asked(haproxy.url, Origin="https://evil.example.com")
        assert not {"Access-Control-Allow-Origin", "Access-Control-Allow-Credentials"} & set(headers)


async def test_a_full_gateway_passes_its_clients_to_the_other() -> None:
    """The gateway's refusal is not the client's business as long as another gateway has room."""
    async with (
        served(max_connections=1) as full,
        served(max_connections=1) as other,
        HaproxyServer(full.port, other.port, check_every="1h") as haproxy,
        Stream(full.url, "user=alice"),
        Stream(haproxy.url, "user=alice") as first,
    ):
        await first.position()
        assert len(other.gateway.hub.connections) == 1
        status, _, body = await asked(haproxy.url, Accept="text/event-stream")
        assert (status, body[:6]) == (200, "retry:")


async def test_a_draining_gateway_is_sent_nobody() -> None:
    """Whether its readiness was asked for again or not; and its streams stay until it ends them."""
    async with (
        served() as leaving,
        served() as staying,
        HaproxyServer(leaving.port, staying.port) as haproxy,
        Stream(haproxy.url, "user=alice") as one,
        Stream(haproxy.url, "user=bob") as two,
    ):
        await one.position()
        await two.position()
        assert [len(each.gateway.hub.connections) for each in (leaving, staying)] == [1, 1], "least connections"
        leaving.gateway.draining = True
        for _ in range(4):
            async with Stream(haproxy.url, "user=carol") as newcomer:
                await newcomer.position()
        assert len(leaving.gateway.hub.connections) == 1
        assert one.ended_at is two.ended_at is None


async def test_a_refused_token_stays_refused() -> None:
    """401 is the gateway's answer, with its reason: asking again would not help."""
    async with served(jwt_secret="s" * 32, publish_keys=()) as secured, HaproxyServer(secured.port) as haproxy:
        status, headers, body = await asked(haproxy.url)
        assert status == 401
        assert headers["Content-Type"].startswith("application/problem+json")
        assert "token" in body


async def test_one_address_does_not_take_all(gateway: Served) -> None:
    """Who has as many connections as an address may have is told when to come again."""
    async with (
        HaproxyServer(gateway.port, replace={"sc0_conn_cur gt 200": "sc0_conn_cur gt 2"}) as haproxy,
        Stream(haproxy.url, "user=alice"),
        Stream(haproxy.url, "user=alice"),
    ):
        status, _, body = await asked(haproxy.url)
        assert status == 200
        assert RETRY.fullmatch(body)


# From outside


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/events", 405),
        ("DELETE", "/v1/events", 405),
        ("GET", "/v1/tickets", 405),
        ("POST", "/v1/users/alice/events", 404),
        ("POST", "/v1/broadcast", 404),
        ("DELETE", "/v1/users/alice/connections", 404),
        ("GET", "/metrics", 404),
        ("GET", "/readyz", 404),
        ("POST", "/v1/events/", 404),
        ("GET", "/v1/../metrics", 404),
        ("GET", "/v1/events%2f..%2f..%2fmetrics", 404),
        ("GET", "/client.js", 200),
    ],
)
async def test_only_the_streams_are_open(
    gateway: Served, haproxy: HaproxyServer, method: str, path: str, status: int
) -> None:
    """Publishing and what operators ask for do not exist from outside, whoever asks and however it is spelled."""
    async with nothing_published(gateway):
        assert await status_of(haproxy.port, method, path) == status
