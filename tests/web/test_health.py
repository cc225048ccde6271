"""Health and metrics: when a process is to be restarted, when it is to be left alone, and what is counted."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from servers import HOST, RedisServer, free_port, until
from streams import Stream
from web.inprocess import Served, bearer, claims, served, token

NAMES = {
    "gateway_connections": "gauge",
    "gateway_channels": "gauge",
    "gateway_events_received": "counter",
    "gateway_events_delivered": "counter",
    "gateway_delivered_bytes": "counter",
    "gateway_fell_behind": "counter",
    "gateway_gaps_told": "counter",
    "gateway_heals": "counter",
    "gateway_broker_link_up": "gauge",
    "gateway_build_info": "gauge",
    "gateway_connections_opened": "counter",
    "gateway_connections_closed": "counter",
    "gateway_connections_refused": "counter",
    "gateway_events_published": "counter",
    "gateway_publish_seconds": "histogram",
    "gateway_event_latency_seconds": "histogram",
    "gateway_fan_out_seconds": "histogram",
    "gateway_catch_ups": "counter",
    "gateway_catch_up_seconds": "histogram",
    "gateway_history_reads": "counter",
    "gateway_buffer_bytes": "gauge",
    "gateway_tail_bytes": "gauge",
    "gateway_broker_reconnects": "counter",
    "gateway_broker_garbage": "counter",
    "gateway_broker_probe_seconds": "histogram",
    "gateway_broker_clock_ahead_seconds": "gauge",
    "gateway_event_loop_lag_seconds": "histogram",
    "gateway_unexpected_errors": "counter",
    "gateway_ready": "gauge",
    "gateway_unready": "gauge",
    "gateway_draining": "gauge",
    "gateway_connections_limit": "gauge",
    "gateway_processes": "gauge",
    "gateway_broker_warnings": "gauge",
    "process_open_fds": "gauge",
    "process_max_fds": "gauge",
}
LABELS = {"state", "version", "reason", "kind", "outcome", "le", "door", "cause", "generation", "room"}
LABELS |= {"implementation", "major", "minor", "patchlevel"}  # of python_info
MOST_SERIES = 300


async def ready(gateway: Served) -> tuple[int, dict[str, Any]]:
    async with gateway.http.get("/readyz") as response:
        return response.status, await response.json()


async def alive(gateway: Served) -> int:
    async with gateway.http.get("/livez") as response:
        assert await response.json() == {"status": "ok"}
        return response.status


async def scraped(gateway: Served) -> str:
    async with gateway.http.get("/metrics") as response:
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/plain; version=")
        return await response.text()


def value(text: str, sample: str, **labels: str) -> float:
    return next(
        each.value
        for family in text_string_to_metric_families(text)
        for each in family.samples
        if each.name == sample and each.labels == labels
    )


async def test_a_process_that_runs_is_alive_and_ready(gateway: Served) -> None:
    """With its broker at hand a process is both."""
    assert await alive(gateway) == 200
    assert await ready(gateway) == (200, {"status": "ok"})


async def test_a_broker_that_is_away_makes_it_unready_and_not_dead() -> None:
    """Restarting the process would bring no broker back: /readyz says why, /livez says ok."""
    port = free_port()
    async with served(broker_url=f"redis://{HOST}:{port}") as gateway:

        async def says_why() -> bool:
            status, answer = await ready(gateway)
            return status == 503 and f"cannot connect to {HOST}:{port}" in str(answer["reasons"])

        await until(says_why)
        assert await alive(gateway) == 200
        assert value(await scraped(gateway), "gateway_broker_link_up") == 0


async def test_a_brokers_password_is_not_told() -> None:
    """The reason names the address and nothing of the URL's credentials."""
    url = f"redis://someone:hunter2-secret@{HOST}:{free_port()}"
    async with served(broker_url=url) as gateway:
        await until(lambda: "cannot connect" in str(gateway.gateway.relay.health()))
        _, answer = await ready(gateway)
        assert "hunter2" not in str(answer)
        assert "someone" not in str(answer)


async def test_it_is_ready_again_when_the_broker_is_back() -> None:
    """Ready, unready, ready: without a restart."""
    with RedisServer() as server:
        async with served(broker_url=server.url) as gateway:

            async def status() -> int:
                return (await ready(gateway))[0]

            async def is_ready() -> bool:
                return await status() == 200

            async def is_unready() -> bool:
                return await status() == 503

            await until(is_ready)
            server.kill()
            await until(is_unready)
            server.spawn()
            await until(is_ready)


async def test_health_needs_no_credential(secured: Served) -> None:
    """Probes and scrapers have no key."""
    assert await alive(secured) == 200
    assert (await ready(secured))[0] == 200
    assert await scraped(secured)


async def test_the_series_have_their_names_and_kinds(gateway: Served) -> None:
    """Dashboards and alerts hold on to these names."""
    families = {family.name: family for family in text_string_to_metric_families(await scraped(gateway))}
    ours = {name: family.type for name, family in families.items() if not name.endswith("_created")}
    assert NAMES.items() <= ours.items()
    assert all(family.documentation for family in families.values())


async def test_what_is_counted_is_what_happened(gateway: Served) -> None:
    """Streams, events, deliveries and refusals show in the scrape that follows them."""
    async with Stream(gateway.url, "user=alice") as one, Stream(gateway.url, "user=alice") as two:
        await gateway.publish("alice", data="hello")
        await gateway.publish("nobody")
        await one.next()
        await two.next()
        text = await scraped(gateway)
        assert value(text, "gateway_connections", state="live") == 2
        assert value(text, "gateway_connections", state="behind") == 0
        assert value(text, "gateway_channels") == 2
        assert value(text, "gateway_connections_opened_total") == 2
        assert value(text, "gateway_events_published_total", kind="user", outcome="accepted") == 2
        assert value(text, "gateway_events_delivered_total") == 2
        assert value(text, "gateway_delivered_bytes_total") > 2 * len("hello")
        assert value(text, "gateway_publish_seconds_count") == 2
        assert value(text, "gateway_broker_link_up") == 1
        assert value(text, "gateway_event_latency_seconds_count") == 1, "one of two events was for somebody"
        assert value(text, "gateway_fan_out_seconds_count") == 1
        assert value(text, "gateway_catch_ups_total", cause="new", outcome="memory") == 2
    await until(lambda: not gateway.gateway.hub.connections)
    text = await scraped(gateway)
    assert value(text, "gateway_connections", state="live") == 0
    assert value(text, "gateway_connections_closed_total", reason="client_left") == 2


async def test_no_label_names_anybody(secured: Served) -> None:
    """Whatever users, topics, tokens and keys did, no series carries one, and labels are of bounded size."""
    shown = token(claims("mallory-4711", topics=["secret-topic"]))
    key = bearer("key-for-all")
    event = {"event_type": "very-private", "data": 1}
    async with Stream(secured.url, "topic=secret-topic", token=shown) as stream:
        for path in ("/v1/users/mallory-4711/events", "/v1/topics/secret-topic/events", "/v1/broadcast"):
            async with secured.http.post(path, json=event, headers=key) as response:
                assert response.status == 202
        await stream.count(3)
    for path in ("/v1/users/mallory-4711/nowhere", "/v1/events?user=mallory-4711"):
        async with secured.http.get(path, headers=bearer("wrong")) as response:
            assert response.status in (401, 404)
    text = await scraped(secured)
    for private in ("mallory", "4711", "secret-topic", "very-private", "key-for", *shown.split(".")):
        assert private not in text
    labels = {name for family in text_string_to_metric_families(text) for s in family.samples for name in s.labels}
    assert labels <= LABELS
    assert len(re.findall(r"^gateway_", text, re.MULTILINE)) < MOST_SERIES


async def test_a_scrape_holds_nobody_up(gateway: Served) -> None:
    """Probes are answered while many streams are open."""
    streams = [Stream(gateway.url, f"user=u{number}") for number in range(50)]
    await asyncio.gather(*(stream.open() for stream in streams))
    try:
        assert value(await scraped(gateway), "gateway_connections", state="live") == 50
        assert await alive(gateway) == 200
    finally:
        await asyncio.gather(*(stream.close() for stream in streams))


async def test_a_warning_does_not_make_it_unready() -> None:
    """A Redis that would throw histories away is told in the body, with the remedy; new streams come all the same."""
    async with (
        RedisServer(maxmemory="100mb", maxmemory_policy="allkeys-lru") as server,
        served(broker_url=server.url) as gateway,
    ):

        async def warned() -> bool:
            status, answer = await ready(gateway)
            return status == 200 and "set maxmemory-policy noeviction" in str(answer.get("warnings"))

        await until(warned)
