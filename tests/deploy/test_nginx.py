"""The shipped nginx site in front of gateways: at once, whole, with what both sides have to tell each other."""

from __future__ import annotations

import asyncio

import aiohttp
from deploy.gateways import PROMPT, StandIn, asked
from nginx import NginxServer, needs_nginx
from servers import HOST, free_port, until
from streams import Stream, assert_clean
from web.inprocess import Served, served

pytestmark = needs_nginx


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


async def test_short_answers_share_a_connection() -> None:
    """A client that is refused costs the gateway no connection of its own: nginx keeps one for the next."""
    gateway, port = StandIn(streams=False), free_port()
    async with gateway.listening(port), NginxServer(port, workers=1) as nginx:
        for _ in range(5):
            assert (await asked(nginx.url))[0] == 401
    assert (len(gateway.requests), gateway.connections) == (5, 1)
