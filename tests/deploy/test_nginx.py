"""The shipped nginx site in front of gateways: at once, whole, safe from outside, and never fatal to an EventSource."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Mapping

import aiohttp
import pytest
import pytest_asyncio
from chaos.stage import stage
from deploy.gateways import StandIn, fleet_through
from nginx import NginxServer, needs_nginx
from servers import HOST, free_port, until
from streams import Stream, assert_clean
from web.inprocess import Served, nothing_published, served

from gateway.config import Settings

PROMPT = 2.0
"""Seconds; the heartbeat, which would push out what a proxy holds back, comes after 15."""

pytestmark = needs_nginx


@pytest_asyncio.fixture
async def gateway() -> AsyncIterator[Served]:
    """In development mode, with everything else as it comes."""
    async with served() as running:
        yield running


@pytest_asyncio.fixture
async def nginx(gateway: Served) -> AsyncIterator[NginxServer]:
    """Before that one gateway; of the two that are configured the other is down."""
    async with NginxServer(gateway.port) as running:
        yield running


async def asked(url: str, **headers: str) -> tuple[int, Mapping[str, str], str]:
    """The whole answer to a request for a stream: only one that ends by itself can be asked for."""
    async with aiohttp.ClientSession() as http, http.get(f"{url}/v1/events?user=alice", headers=headers) as response:
        async with asyncio.timeout(PROMPT):
            return response.status, response.headers, await response.text()


# The stream


async def test_an_event_arrives_at_once(gateway: Served, nginx: NginxServer) -> None:
    """What is published arrives long before the next heartbeat, to a client that would take gzip as well."""
    async with Stream(nginx.url, "user=alice", headers={"Accept-Encoding": "gzip, deflate, br"}) as stream:
        for number in range(3):
            id = await gateway.publish("alice", "number", number)
            event = await stream.next(within=PROMPT)
            assert (event.data, event.last_event_id) == (str(number), id)


async def test_nothing_is_held_back_whatever_the_headers_say() -> None:
    """Without X-Accel-Buffering and Cache-Control from behind, nginx neither buffers, nor caches, nor compresses."""
    gateway, port = StandIn(), free_port()
    async with (
        gateway.listening(port),
        NginxServer(port) as nginx,
        Stream(nginx.url, headers={"Accept-Encoding": "gzip"}) as one,
        Stream(nginx.url, headers={"Accept-Encoding": "gzip"}) as two,
    ):
        assert len(gateway.requests) == 2
        for stream in (one, two):
            assert "Content-Encoding" not in stream.headers
        for number in range(3):
            await gateway.say(b"data: %d\n\n" % number)
            for stream in (one, two):
                assert (await stream.next(within=PROMPT)).data == str(number)


async def test_the_headers_of_a_stream_survive(nginx: NginxServer) -> None:
    """Content type, no-store, and the word to the next proxy come through, chunked and not compressed."""
    async with Stream(nginx.url, "user=alice", headers={"Accept-Encoding": "gzip"}) as stream:
        assert stream.headers["Content-Type"] == "text/event-stream"
        assert stream.headers["Cache-Control"] == "no-store"
        assert stream.headers["X-Accel-Buffering"] == "no"
        assert stream.headers["Transfer-Encoding"] == "chunked"
        assert "Content-Encoding" not in stream.headers


async def test_the_client_for_pages_comes_through(nginx: NginxServer) -> None:
    """The module that pages import, with the headers by which browsers keep it."""
    async with aiohttp.ClientSession(nginx.url) as http, http.get("/client.js") as response:
        assert response.status == 200
        assert response.content_type == "text/javascript"
        assert response.headers["Cache-Control"].startswith("public")
        assert "export " in await response.text()


async def test_a_long_poll_comes_through(gateway: Served, nginx: NginxServer) -> None:
    """What a client accepts reaches the gateway, and the answer comes as soon as there is something."""
    async with aiohttp.ClientSession(nginx.url, headers={"Accept": "application/json"}) as http:
        async with http.get("/v1/events?user=alice&wait=0") as response:
            cursor = (await response.json())["cursor"]
        asking = asyncio.create_task(http.get(f"/v1/events?user=alice&last_event_id={cursor}"))
        await until(lambda: gateway.gateway.hub.connections, what="the poll waits at the gateway")
        await gateway.publish("alice", "number", 1)
        async with asyncio.timeout(PROMPT), await asking as response:
            assert [event["data"] for event in (await response.json())["events"]] == [1]


async def test_a_client_resumes_through_nginx(gateway: Served, nginx: NginxServer) -> None:
    """Last-Event-ID reaches the gateway: what came meanwhile is there, once."""
    async with Stream(nginx.url, "user=alice") as stream:
        await gateway.publish("alice", "number", 0)
        await stream.next()
    for number in (1, 2):
        await gateway.publish("alice", "number", number)
    async with stream.resumed() as again:
        await again.count(2)
        await gateway.publish("alice", "number", 3)
        await again.count(3)
    assert_clean(again.data(), [1, 2, 3])


async def test_what_the_gateway_is_told_of_the_client() -> None:
    """Its address is nginx's word, not its own; the cursor, token and name of the site come through untouched."""
    gateway, port = StandIn(), free_port()
    sent = {
        "X-Forwarded-For": "1.2.3.4",
        "X-Forwarded-Proto": "gopher",
        "X-User-Id": "somebody-else",
        "Last-Event-ID": "1764000000000-0",
        "Authorization": "Bearer x",
        "Connection": "keep-alive",
    }
    async with gateway.listening(port), NginxServer(port) as nginx, Stream(nginx.url, "types=a.*", headers=sent):
        request = gateway.requests[0]
        assert request.version == aiohttp.HttpVersion11
        assert request.path_qs == "/v1/events?types=a.*"
        assert request.headers.getall("X-Forwarded-For") == [HOST]
        assert request.headers["X-Forwarded-Proto"] == "http"
        assert request.headers["Host"] == HOST
        assert request.headers["Last-Event-ID"] == "1764000000000-0"
        assert request.headers["Authorization"] == "Bearer x"
        assert not {"X-User-Id", "Connection", "Accept-Encoding"} & set(request.headers)


async def test_a_page_of_another_origin_may_ask_first() -> None:
    """A preflight for a stream or a ticket is answered by the gateway, which knows the origins."""
    origin = "https://app.example.com"
    sent = {"Origin": origin, "Access-Control-Request-Headers": "authorization"}
    async with (
        served(cors_origins=(origin,)) as gateway,
        NginxServer(gateway.port) as nginx,
        aiohttp.ClientSession(nginx.url) as http,
    ):
        for path, method in (("/v1/events", "GET"), ("/v1/tickets", "POST")):
            async with http.options(path, headers=sent | {"Access-Control-Request-Method": method}) as response:
                assert response.status == 204
                assert response.headers["Access-Control-Allow-Origin"] == origin


# A gateway that is away, full, or leaving


async def test_without_a_gateway_the_answer_is_not_fatal() -> None:
    """An EventSource gets 200 and an event stream that says when to come back, each its own time."""
    async with NginxServer(free_port(), free_port()) as nginx:
        retries = set()
        for _ in range(20):
            status, headers, body = await asked(nginx.url, **{"Accept-Encoding": "gzip"})
            assert status == 200
            assert headers["Content-Type"] == "text/event-stream"
            assert headers["Cache-Control"] == "no-store"
            assert "Content-Encoding" not in headers
            assert "Access-Control-Allow-Origin" not in headers
            match = re.fullmatch(r"retry: (\d+)\n\n", body)
            assert match is not None, body
            retries.add(int(match[1]))
        middle = Settings(dev=True).retry_ms
        assert len(retries) > 2
        assert middle * 0.5 <= min(retries) <= max(retries) <= middle * 1.5


@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson"])
async def test_who_asks_for_json_is_told_in_json(accept: str) -> None:
    """A client that is no EventSource can read a 503, and when to come again."""
    async with NginxServer(free_port()) as nginx:
        status, headers, body = await asked(nginx.url, Accept=accept)
        assert (status, headers["Content-Type"]) == (503, "application/problem+json")
        assert (headers["Retry-After"], headers["Cache-Control"]) == ("3", "no-store")
        assert json.loads(body)["status"] == 503


async def test_a_page_of_an_allowed_origin_may_read_that_answer() -> None:
    """The answer in the gateway's place passes the CORS check for the origins that are listed, and for no others."""
    origin = "https://app.example.com"
    listed = {f"# {origin}   $http_origin;": f"{origin} $http_origin;"}
    async with NginxServer(free_port(), replace=listed) as nginx:
        _, headers, _ = await asked(nginx.url, Origin=origin)
        assert headers["Access-Control-Allow-Origin"] == origin
        assert headers["Access-Control-Allow-Credentials"] == "true"
        _, headers, _ = await asked(nginx.url, Origin="https://evil.example.com")
        assert "Access-Control-Allow-Origin" not in headers
        assert "Access-Control-Allow-Credentials" not in headers


async def test_a_gateway_that_is_back_is_used_at_once() -> None:
    """Clients that knock while both are down do not make nginx shut them out: they get in as soon as one listens."""
    gateway, port = StandIn(), free_port()
    async with NginxServer(port) as nginx:
        for _ in range(20):
            assert (await asked(nginx.url))[2].startswith("retry:")
        async with gateway.listening(port):
            began = time.monotonic()
            while not gateway.requests:
                async with Stream(nginx.url):
                    assert time.monotonic() - began < 1, "still turned away"


async def test_nginx_being_full_is_not_fatal(gateway: Served) -> None:
    """When its own connections are used up nginx would say 500: its clients are told to come back as well."""
    async with NginxServer(gateway.port, workers=1, connections=15) as nginx:
        streams: list[Stream] = []
        try:
            while not streams or "X-Accel-Buffering" in streams[-1].headers:
                streams.append(await Stream(nginx.url, "user=alice").open())
            await streams[-1].end()
            assert re.fullmatch(rb"retry: \d+\n\n", bytes(streams[-1].raw))
            assert "worker_connections are not enough" in nginx.log
        finally:
            await asyncio.gather(*(stream.close() for stream in streams))


async def test_a_full_gateway_passes_its_clients_to_the_other() -> None:
    """The gateway's refusal is not the client's business as long as another gateway has room."""
    async with (
        served(max_connections=1) as full,
        served(max_connections=1) as other,
        NginxServer(full.port, other.port) as nginx,
        Stream(full.url, "user=alice"),
        Stream(nginx.url, "user=alice") as first,
    ):
        await first.position()
        assert len(other.gateway.hub.connections) == 1
        status, _, body = await asked(nginx.url, Accept="text/event-stream")
        assert (status, body[:6]) == (200, "retry:")


async def test_a_refused_token_stays_refused() -> None:
    """401 is the gateway's answer, with its reason: asking again would not help."""
    async with served(jwt_secret="s" * 32, publish_keys=()) as secured, NginxServer(secured.port) as nginx:
        status, headers, body = await asked(nginx.url)
        assert status == 401
        assert headers["Content-Type"].startswith("application/problem+json")
        assert "token" in body


@pytest.mark.slow
@pytest.mark.parametrize("end", ["killed", "drained"])
async def test_clients_of_a_gateway_that_leaves_resume_on_the_other(end: str) -> None:
    """Streams are shared evenly; half of them move, each with one reconnect, and nothing is lost or doubled."""
    async with stage(gateways=2, settings={"GATEWAY_DRAIN_SECONDS": "1"}) as s:
        leaving, staying = s.gateways
        s.publish_to = [staying]
        users = [f"user:u{number}" for number in range(20)]
        async with NginxServer(leaving.port, staying.port) as nginx, fleet_through(nginx, s, len(users)):
            async with s.load([*users, "broadcast"], rate=200) as load:
                await until(lambda: all(client.received.events for client in s.clients))
                if end == "killed":
                    leaving.kill()
                else:
                    leaving.terminate()
                await leaving.wait()
                await until(lambda: all(client.connected for client in s.clients))
                reached = load.published.total() + 100
                await until(lambda: load.published.total() >= reached)
            verdict = await s.verdict(load)
        opened = [client.received.opened for client in s.clients]
        assert verdict.clean, str(verdict)
        assert verdict.gaps == 0
        assert sorted(opened) == [1] * 10 + [2] * 10
        assert not any(client.received.refused for client in s.clients)


# nginx's own life


async def test_a_reload_loses_nothing(gateway: Served, nginx: NginxServer) -> None:
    """Streams stay on the old workers, new ones come to the new workers, and nobody is turned away meanwhile."""
    published = 0
    async with Stream(nginx.url, "user=alice") as old:
        for _ in range(2):
            reloading = asyncio.create_task(nginx.reload())
            while not reloading.done():
                async with Stream(nginx.url, "user=alice") as visitor:
                    await visitor.position()
                    await gateway.publish("alice", "number", published)
                    published += 1
                    await visitor.count(1)
            await reloading
        async with Stream(nginx.url, "user=alice") as new:
            await gateway.publish("alice", "number", published)
            await new.count(1)
        await old.count(published + 1)
        assert_clean(old.data(), range(published + 1))
        assert old.ended_at is None


# From outside


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/events", 403),
        ("PUT", "/v1/events", 403),
        ("DELETE", "/v1/events", 403),
        ("POST", "/v1/users/alice/events", 404),
        ("POST", "/v1/broadcast", 404),
        ("POST", "/v1/topics/orders/events", 404),
        ("GET", "/v1/users/alice/presence", 404),
        ("DELETE", "/v1/users/alice/connections", 404),
        ("GET", "/metrics", 404),
        ("GET", "/readyz", 404),
        ("GET", "/livez", 404),
        ("GET", "/console", 404),
        ("POST", "/v1/events/", 404),
        ("GET", "/v1/tickets", 403),
        ("GET", "/openapi.json", 404),
        ("GET", "/v1/../metrics", 404),
        ("GET", "/v1/events%2f..%2f..%2fmetrics", 404),
    ],
)
async def test_only_the_streams_are_open(
    gateway: Served, nginx: NginxServer, method: str, path: str, status: int
) -> None:
    """Publishing and what operators ask for do not exist from outside, whoever asks and however it is spelled."""
    reader, writer = await asyncio.open_connection(HOST, nginx.port)
    body = '{"event_type": "x", "data": 1, "user_id": "alice"}' if method == "POST" else ""
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
    async with nothing_published(gateway), asyncio.timeout(PROMPT):
        answer = await reader.read()
    writer.close()
    assert int(answer[9:12]) == status


async def test_a_head_that_does_not_end_is_not_waited_for(gateway: Served) -> None:
    """A client that takes its time with the request's head is dropped, though it goes on sending."""
    async with NginxServer(gateway.port, replace={"client_header_timeout 10s": "client_header_timeout 1s"}) as nginx:
        reader, writer = await asyncio.open_connection(HOST, nginx.port)
        writer.write(b"GET /v1/events?user=alice HTTP/1.1\r\n")
        ended = asyncio.ensure_future(reader.read())

        async def dropped() -> bool:
            if not ended.done():
                writer.write(b"X")
            return ended.done()

        await until(dropped, within=4, what="nginx closes the connection")
        assert b"200" not in await ended
        writer.close()
