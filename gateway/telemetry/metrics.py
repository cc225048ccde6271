"""The Prometheus series of a process. Here is what handlers count as it happens; `snapshot.py` has what is read when
somebody asks, for what the hot path counts are plain integers.

Labels are of bounded size: never a user, never a channel's name. Where their values are known beforehand all are there
from the start, at 0, so that the first of a kind is an increase. docs/metrics.md is made from this.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from functools import cache

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from ..broker.registry import Verdict
from ..distribution import Distribution
from ..hub import CloseReason
from ..relay import Relay
from .snapshot import Snapshot, histogram

PUBLISH_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
LAG_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)

KINDS = ("user", "broadcast", "topic")
TAKEN = ("accepted", "unavailable", "overloaded")
REFUSALS = (
    "max_connections",
    "descriptors",
    "max_connections_per_address",
    "connect_rate",
    "connect_rate_per_address",
    "draining",
    "broker_unavailable",
    "keys_unavailable",
    *list(Verdict)[1:],
    "max_topics",
    "max_types",
    "invalid_request",
    "not_allowed",
)
DROPS = (
    "header_timeout",
    "keepalive_timeout",
    "max_pending_connections",
    "max_idle_connections",
    "max_head_bytes",
    "descriptors",
)

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, of when it was first counted: nobody reads those


class Metrics:
    """One registry for a process; `render` is the text of `GET /metrics`."""

    def __init__(self, relays: Iterable[Relay]) -> None:
        self.registry = CollectorRegistry()
        self.labels: dict[str, tuple[str, ...]] = {}  # of those that have some, by name
        self.waiting: list[tuple[str, Sized]] = []
        """Rooms for connections on which no request is under way, with their names; `arrivals.py` adds them."""
        self.registry.register(Snapshot(relays, self.waiting))

        self.opened = self._counter("connections_opened", "Streams opened")
        self.closed = self._counter("connections_closed", "Streams ended, by reason", "reason")
        self.refused = self._counter("connections_refused", "Streams refused, by reason", "reason")
        self.polls = self._counter("polls", "Long polls answered: events, nothing, or why they were ended", "outcome")
        self.credentials_refused = self._counter(
            "credentials_refused",
            "Credentials that were missing or not believed, by door (subscribe, publish) and reason",
            "door",
            "reason",
        )
        self.jwks_fetches = self._counter(
            "jwks_fetches", "Fetches of the keys that verify tokens, by outcome", "outcome"
        )
        self.tickets = self._counter("tickets", "Tickets asked for, by outcome", "outcome")
        self.sent_away = self._counter("users_sent_away", "Requests to end a user's streams")
        self.registry_up = Gauge(
            "gateway_registry_up", "1 while the other processes can be asked about a user", registry=self.registry
        )

        self.published = self._counter(
            "events_published", "Events taken from publishers, by kind of channel and outcome", "kind", "outcome"
        )
        self.published_of = cache(self.published.labels)
        self.publishes_refused = self._counter(
            "publishes_refused", "Publish requests of known publishers that were refused, by reason", "reason"
        )
        self.publish_seconds = self._histogram(
            "publish_seconds", "From a publish request to the broker's answer", PUBLISH_BUCKETS
        )
        self.publish_keys_read = self._counter(
            "publish_keys_rereads",
            "Times the file of publish keys was to be read again, by outcome",
            "outcome",
        )

        self.dropped = self._counter(
            "connections_dropped", "Connections without a stream that were let go, by reason", "reason"
        )
        self.malformed = self._counter("requests_malformed", "Requests that could not be read")
        self.unexpected_errors = self._counter("unexpected_errors", "Faults of the gateway's own; the log has each")
        self.loop_lag = self._histogram(
            "event_loop_lag_seconds", "By how much a timer of the event loop fires too late", LAG_BUCKETS
        )
        self._begin_at_0()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def render(self) -> bytes:
        return generate_latest(self.registry)

    def _begin_at_0(self) -> None:
        for closing in CloseReason:
            self.closed.labels(closing)
        for refusal in REFUSALS:
            self.refused.labels(refusal)
        for answered in ("events", "nothing"):
            self.polls.labels(answered)
        for drop in DROPS:
            self.dropped.labels(drop)
        for kind in KINDS:
            for outcome in TAKEN:
                self.published_of(kind, outcome)
        for counter, outcomes in (
            (self.jwks_fetches, ("ok", "unreachable")),
            (self.tickets, ("issued", "refused")),
            (self.publish_keys_read, ("read", "kept")),
        ):
            for outcome in outcomes:
                counter.labels(outcome)

    def _counter(self, name: str, documentation: str, *labels: str) -> Counter:
        self.labels[f"gateway_{name}"] = labels
        return Counter(f"gateway_{name}", documentation, labels, registry=self.registry)

    def _histogram(self, name: str, documentation: str, buckets: Iterable[float]) -> Distribution:
        """Not prometheus-client's, which takes 2 µs to observe something."""
        measured = Distribution(*buckets)
        self.registry.register(_Measured(f"gateway_{name}", documentation, measured))
        return measured


class _Measured(Collector):
    def __init__(self, name: str, documentation: str, measured: Distribution) -> None:
        self._told = name, documentation, measured

    def collect(self) -> Iterator[Metric]:
        yield histogram(*self._told)
