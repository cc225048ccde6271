"""The Prometheus series. What the hot path counts are plain integers in the hub; they are read when scraped.

Labels are of bounded size: never a user, never a channel's name.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterator
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from .. import __version__
from ..hub import Hub, State
from ..relay import Relay


class Metrics:
    """One registry for a process; `render` is the text of `GET /metrics`."""

    def __init__(self, hub: Hub, relay: Relay) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_Snapshot(hub, relay))
        self.opened = Counter("gateway_connections_opened", "Streams opened", registry=self.registry)
        self.closed = Counter(
            "gateway_connections_closed", "Streams ended, by reason", ["reason"], registry=self.registry
        )
        self.refused = Counter(
            "gateway_connections_refused", "Streams refused, by reason", ["reason"], registry=self.registry
        )
        self.credentials_refused = Counter(
            "gateway_credentials_refused",
            "Credentials that were missing or not believed, by door (subscribe, publish) and reason",
            ["door", "reason"],
            registry=self.registry,
        )
        self.jwks_fetches = Counter(
            "gateway_jwks_fetches",
            "Fetches of the keys that verify tokens, by outcome",
            ["outcome"],
            registry=self.registry,
        )
        self.tickets = Counter("gateway_tickets", "Tickets asked for, by outcome", ["outcome"], registry=self.registry)
        self.sent_away = Counter("gateway_users_sent_away", "Requests to end a user's streams", registry=self.registry)
        self.registry_up = Gauge(
            "gateway_registry_up", "1 while the other processes can be asked about a user", registry=self.registry
        )
        self.publish_keys_read = Counter(
            "gateway_publish_keys_rereads",
            "Times the file of publish keys was to be read again, by outcome (read, kept)",
            ["outcome"],
            registry=self.registry,
        )
        self.malformed = Counter(
            "gateway_requests_malformed", "Requests that could not be read", registry=self.registry
        )
        self.publishes_refused = Counter(
            "gateway_publishes_refused",
            "Publish requests of known publishers that were refused, by reason",
            ["reason"],
            registry=self.registry,
        )
        self.published = Counter(
            "gateway_events_published",
            "Events taken from publishers, by kind of channel and outcome",
            ["kind", "outcome"],
            registry=self.registry,
        )
        self.published_of = cache(self.published.labels)
        self.publish_seconds = Histogram(
            "gateway_publish_seconds",
            "From a publish request to the broker's answer",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
            registry=self.registry,
        )
        self.loop_lag = Histogram(
            "gateway_event_loop_lag_seconds",
            "By how much a timer of the event loop fires too late",
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
            registry=self.registry,
        )

    def render(self) -> bytes:
        return generate_latest(self.registry)


class _Snapshot(Collector):
    """What is true at the moment of the scrape."""

    def __init__(self, hub: Hub, relay: Relay) -> None:
        self._hub = hub
        self._relay = relay

    def collect(self) -> Iterator[Metric]:
        stats = self._hub.stats
        states = Tally(connection.state for connection in self._hub.connections)
        connections = GaugeMetricFamily("gateway_connections", "Open streams, by state", labels=["state"])
        for state in (State.CATCHING_UP, State.LIVE, State.BEHIND):
            connections.add_metric([state.value], states[state])
        yield connections
        yield GaugeMetricFamily("gateway_channels", "Channels in use here", len(self._hub.channels))
        yield CounterMetricFamily("gateway_events_received", "Events from the broker", stats.dispatched)
        yield CounterMetricFamily("gateway_events_delivered", "Events written to streams", stats.delivered)
        yield CounterMetricFamily("gateway_delivered_bytes", "Bytes written by fan-out", stats.delivered_bytes)
        yield CounterMetricFamily("gateway_fell_behind", "Times a client read too slowly", stats.fell_behind)
        yield CounterMetricFamily("gateway_gaps_told", "Gaps told to clients", stats.gaps_told)
        yield CounterMetricFamily("gateway_heals", "Healings after a lost link", self._relay.healing.heals)
        up = self._relay.broker.health() is None
        yield GaugeMetricFamily("gateway_broker_link_up", "1 while announcements are heard", int(up))
        build = GaugeMetricFamily("gateway_build_info", "Always 1", labels=["version"])
        build.add_metric([__version__], 1)
        yield build
