"""What is true at the moment of a scrape: read from hub, relay and broker, which count in plain integers.

A scrape looks at every connection once: 1 ms for 10,000.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence, Sized
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from .. import __version__
from ..distribution import Distribution
from ..hub import Cause, Hub, State
from ..relay import Outcome, Relay

ROOMS = ("pending", "idle")
STATES = (State.CATCHING_UP, State.LIVE, State.BEHIND)


class Snapshot(Collector):
    def __init__(self, hub: Hub, relay: Relay, waiting: Sequence[tuple[str, Sized]] = ()) -> None:
        self._hub = hub
        self._relay = relay
        self._waiting = waiting

    def collect(self) -> Iterator[Metric]:
        yield from self._of_connections()
        yield from self._of_events()
        yield from self._of_catching_up()
        yield from self._of_the_broker()
        build = GaugeMetricFamily("gateway_build_info", "Always 1; the version is its label", labels=["version"])
        build.add_metric([__version__], 1)
        yield build

    def _of_connections(self) -> Iterator[Metric]:
        states, waiting = dict.fromkeys(STATES, 0), 0
        for connection in self._hub.connections:
            states[connection.state] += 1
            if connection.sent_at and not connection.clear:  # it has a socket, and something may wait for it
                waiting += connection.buffered()
        connections = GaugeMetricFamily("gateway_connections", "Open streams, by state", labels=["state"])
        for state, count in states.items():
            connections.add_metric([state.value], count)
        yield connections
        rooms = GaugeMetricFamily(
            "gateway_connections_waiting", "Connections on which no request is under way", labels=["room"]
        )
        for name in ROOMS:
            rooms.add_metric([name], sum(len(room) for named, room in self._waiting if named == name))
        yield rooms
        yield GaugeMetricFamily("gateway_channels", "Channels in use here", len(self._hub.channels))
        yield GaugeMetricFamily("gateway_buffer_bytes", "Bytes that wait for clients who read too slowly", waiting)
        yield GaugeMetricFamily(
            "gateway_tail_bytes", "Memory of recent frames kept for catching up", self._hub.tail_bytes
        )

    def _of_events(self) -> Iterator[Metric]:
        stats = self._hub.stats
        yield CounterMetricFamily("gateway_events_received", "Events from the broker", stats.dispatched)
        yield CounterMetricFamily("gateway_events_delivered", "Events written to streams", stats.delivered)
        yield CounterMetricFamily(
            "gateway_delivered_bytes", "Bytes of events written to streams", stats.delivered_bytes
        )
        yield histogram(
            "gateway_event_latency_seconds",
            "From an event's publish until the last live stream was given it; of events written together, the oldest",
            stats.late,
        )
        yield histogram("gateway_fan_out_seconds", "To write what waited to all live streams it is for", stats.fan_out)

    def _of_catching_up(self) -> Iterator[Metric]:
        stats, relay = self._hub.stats, self._relay
        catch_ups = CounterMetricFamily(
            "gateway_catch_ups", "Catch-ups that ended, by cause and outcome", labels=["cause", "outcome"]
        )
        for cause in Cause:
            for outcome in Outcome:
                catch_ups.add_metric([cause.value, outcome.value], relay.catch_ups[cause, outcome])
        yield catch_ups
        yield histogram("gateway_catch_up_seconds", "Catch-ups that ended live", relay.catch_up_seconds)
        yield CounterMetricFamily(
            "gateway_history_reads", "Pages of history asked for to catch up", relay.history_reads
        )
        yield CounterMetricFamily("gateway_fell_behind", "Times a client read too slowly", stats.fell_behind)
        yield CounterMetricFamily("gateway_gaps_told", "Gaps told to clients", stats.gaps_told)

    def _of_the_broker(self) -> Iterator[Metric]:
        broker = self._relay.broker
        up = broker.health() is None
        yield GaugeMetricFamily("gateway_broker_link_up", "1 while announcements are heard", int(up))
        yield CounterMetricFamily(
            "gateway_broker_reconnects", "Links that were up, and were lost", broker.stats.reconnects
        )
        yield GaugeMetricFamily(
            "gateway_broker_warnings", "Faults of how the broker is set up; /readyz names them", len(broker.warnings())
        )
        yield CounterMetricFamily("gateway_heals", "Healings after a lost link", self._relay.healing.heals)
        yield CounterMetricFamily("gateway_broker_garbage", "Messages that were no events", broker.stats.garbage)
        yield histogram(
            "gateway_broker_probe_seconds", "From sending a probe until it was heard on the link", broker.stats.probe
        )
        ahead = GaugeMetricFamily(
            "gateway_broker_clock_ahead_seconds", "How far the broker's clock is ahead of this machine's, while known"
        )
        if (now_ms := broker.now_ms()) is not None:
            ahead.add_metric([], now_ms / 1000 - time.time())
        yield ahead


def histogram(name: str, documentation: str, measured: Distribution) -> HistogramMetricFamily:
    bounds = [str(float(bound)) for bound in measured.bounds] + ["+Inf"]
    buckets = list(zip(bounds, accumulate(measured.counts), strict=True))
    return HistogramMetricFamily(name, documentation, buckets=buckets, sum_value=measured.sum)
