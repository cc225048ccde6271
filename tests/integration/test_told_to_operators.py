"""What an operator sees of an outage: health and metrics of a real gateway, while its Redis goes and comes back."""

from __future__ import annotations

import time

import aiohttp
import pytest
from integration.helping import over, post, status_of
from prometheus_client.parser import text_string_to_metric_families
from proxy import Proxy
from servers import GatewayProcess, RedisServer, until
from streams import Stream

from gateway.client import SSEEvent, get_sse_publisher

EVENT = {"event_type": "x", "data": 1}


class Scrape:
    """One scrape: `scrape("gateway_ready")`, `scrape("gateway_unready", reason="broker")`."""

    def __init__(self, text: str) -> None:
        self._samples = {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def buckets(self, name: str) -> list[float]:
        return [value for key, value in self._samples.items() if key[0] == f"{name}_bucket"]

    def __call__(self, name: str, **labels: str) -> float:
        return self._samples[name, *sorted(labels.items())]


async def scraped(gateway: GatewayProcess) -> Scrape:
    async with aiohttp.ClientSession(gateway.url) as http, http.get("/metrics") as response:
        assert response.status == 200
        return Scrape(await response.text())


async def test_an_outage_is_told_as_it_is(redis_server: RedisServer, prefix: str) -> None:
    """Redis is killed: not ready and not dead, the link down, a publish not taken; and back: healed, with the delay."""
    settings = over(redis_server.url, prefix, GATEWAY_PUBLISH_TIMEOUT="1")
    async with GatewayProcess(settings, "--dev") as gateway, Stream(gateway.url, "user=alice") as stream:

        async def link_is(up: int) -> bool:
            return (await scraped(gateway))("gateway_broker_link_up") == up

        async def ready() -> bool:
            return (await status_of(gateway.url, "/readyz"))[0] == 200

        await post(gateway.url, "/v1/users/alice/events", EVENT)
        await stream.next()
        before = await scraped(gateway)
        assert before("gateway_ready") == before("gateway_broker_link_up") == before("gateway_registry_up") == 1
        assert before("gateway_broker_reconnects_total") == 0
        assert before("gateway_connections", state="live") == 1

        redis_server.kill()
        await until(lambda: link_is(0))
        status, answer = await status_of(gateway.url, "/readyz")
        assert (status, answer["status"]) == (503, "unavailable")
        assert [reason.partition(":")[0] for reason in answer["reasons"]] == ["broker"]
        assert await status_of(gateway.url, "/readyz?exclude=broker") == (200, {"status": "ok"})
        assert await status_of(gateway.url, "/livez") == (200, {"status": "ok"})
        async with (
            aiohttp.ClientSession(gateway.url) as http,
            http.post("/v1/users/alice/events", json=EVENT) as response,
        ):
            assert response.status == 503
        during = await scraped(gateway)
        assert during("gateway_ready") == 0
        assert [during("gateway_unready", reason=reason) for reason in ("broker", "draining", "task")] == [1, 0, 0]
        assert during("gateway_broker_reconnects_total") == 1
        assert during("gateway_events_published_total", kind="user", outcome="unavailable") == 1
        assert during("gateway_connections", state="live") == 1, "clients stay"
        assert stream.ended_at is None

        await redis_server.start()
        await until(ready)
        await until(lambda: link_is(1))
        await post(gateway.url, "/v1/users/alice/events", EVENT)
        await stream.count(2)
        after = await scraped(gateway)
        assert after("gateway_ready") == 1
        assert after("gateway_unready", reason="broker") == 0
        assert after("gateway_heals_total") == before("gateway_heals_total") + 1
        assert after("gateway_gaps_told_total") == 0
        assert after("gateway_connections_closed_total", reason="client_left") == 0


async def test_how_late_events_were_is_told(redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was published while a gateway was cut off is as late as that lasted, by Redis' clock."""
    monkeypatch.setenv("GATEWAY_CHANNEL_PREFIX", prefix)
    async with (
        Proxy(int(redis_url.rpartition(":")[2])) as proxy,
        GatewayProcess(over(proxy.url, prefix), "--dev") as gateway,
        Stream(gateway.url, "user=alice") as stream,
        get_sse_publisher(redis_url) as publisher,
    ):

        async def known(up: int) -> bool:
            scrape = await scraped(gateway)
            return scrape("gateway_broker_link_up") == up and sum(scrape.buckets("gateway_broker_probe_seconds")) > 0

        await until(lambda: known(1))
        await proxy.refuse()
        await until(lambda: known(0))
        await publisher.publish(SSEEvent("x", "alice", 1))
        began = time.monotonic()
        await until(lambda: time.monotonic() - began > 0.6)
        await proxy.pass_on()
        await stream.next(within=10)
        took = time.monotonic() - began
        scrape = await scraped(gateway)
        assert scrape("gateway_event_latency_seconds_count") == 1
        assert 0.5 < scrape("gateway_event_latency_seconds_sum") < took + 0.1
