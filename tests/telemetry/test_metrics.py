"""The series are one registry for a process, and a scrape shows the moment it was made."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from gateway import __version__
from gateway.broker.memory import MemoryBroker
from gateway.hub import Connection, Hub
from gateway.relay import Relay
from gateway.telemetry.metrics import Metrics


def made() -> tuple[Hub, Metrics]:
    hub = Hub()
    return hub, Metrics(hub, Relay(hub, MemoryBroker()))


def samples(metrics: Metrics) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


async def test_a_scrape_reads_the_hub_as_it_is() -> None:
    """Nothing is copied on the hot path: what the hub counts is read when it is asked for."""
    hub, metrics = made()
    assert samples(metrics)["gateway_connections", ("catching_up",)] == 0
    connection = Connection(["broadcast", "user:alice"])
    hub.join(connection)
    hub.stats.delivered = 7
    now = samples(metrics)
    assert now["gateway_connections", ("catching_up",)] == 1
    assert now["gateway_channels", ()] == 2
    assert now["gateway_events_delivered_total", ()] == 7
    hub.leave(connection)
    assert samples(metrics)["gateway_connections", ("catching_up",)] == 0


async def test_the_link_is_down_until_the_broker_is_heard() -> None:
    """1 while announcements are heard, else 0."""
    hub = Hub()
    broker = MemoryBroker()
    relay = Relay(hub, broker)
    metrics = Metrics(hub, relay)
    assert samples(metrics)["gateway_broker_link_up", ()] == 0
    await relay.start()
    assert samples(metrics)["gateway_broker_link_up", ()] == 1
    await relay.close()
    assert samples(metrics)["gateway_broker_link_up", ()] == 0


async def test_two_processes_worth_of_metrics_do_not_mix() -> None:
    """Each gateway has a registry of its own, so that two can live in one process, as in tests."""
    _, one = made()
    _, two = made()
    one.opened.inc()
    assert samples(one)["gateway_connections_opened_total", ()] == 1
    assert samples(two)["gateway_connections_opened_total", ()] == 0


async def test_the_version_is_told() -> None:
    """gateway_build_info names the version that runs."""
    _, metrics = made()
    assert samples(metrics)["gateway_build_info", (__version__,)] == 1
