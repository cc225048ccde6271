"""The shipped nginx site when a gateway, or nginx itself, goes away: never fatal to an EventSource."""

from __future__ import annotations

import asyncio
import json
import re
import time

import pytest
from chaos.stage import stage
from deploy.gateways import StandIn, asked, fleet_through
from nginx import NginxServer, needs_nginx
from servers import free_port, until
from streams import Stream, assert_clean
from web.inprocess import Served, served

from gateway.config import Settings

pytestmark = needs_nginx


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
