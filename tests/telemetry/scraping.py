"""A process' metrics without the process, and what a scrape of them says."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from gateway.broker.memory import MemoryBroker
from gateway.hub import Hub
from gateway.relay import Relay
from gateway.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Made:
    hub: Hub
    broker: MemoryBroker
    relay: Relay
    metrics: Metrics


def made() -> tuple[Hub, Made]:
    broker = MemoryBroker()
    hub = Hub(now_ms=broker.now_ms)
    relay = Relay(hub, broker)
    return hub, Made(hub, broker, relay, Metrics([relay]))


def samples(of: Made) -> dict[tuple[str, tuple[str, ...]], float]:
    """By name and the values of the labels, in the order in which they stand in the text."""
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(of.metrics.render().decode())
        for sample in family.samples
    }
