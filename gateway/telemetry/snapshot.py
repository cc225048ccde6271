"""What is true at the moment of a scrape: read from hub, relay and broker, which count in plain integers.

A scrape looks at every connection once: 1 ms for 10,000.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence, Sized
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from .. import __version__
from ..distribution import Distribution, total
from ..hub import Cause, State
from ..relay import Outcome, Relay

ROOMS = ("pending", "idle")
STATES = (State.CATCHING_UP, State.LIVE, State.BEHIND)


class Snapshot(Collector):
    """Of all partitions together."""

    def __init__(self, relays: Iterable[Relay], waiting: Sequence[tuple[str, Sized]] = ()) -> None:
        self._relays = tuple(relays)
        self._hubs = tuple(relay.hub for relay in self._relays)
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
        for connection in (connection for hub in self._hubs for connection in hub.connections):
            if connection.part_of_another:
                continue
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
        yield GaugeMetricFamily(
            "gateway_channels", "Channels in use here", sum(len(hub.channels) for hub in self._hubs)
        )
        yield GaugeMetricFamily("gateway_buffer_bytes", "Bytes that wait for clients who read too slowly", waiting)
        yield GaugeMetricFamily(
            "gateway_tail_bytes",
            "Memory of recent frames kept for catching up",
            sum(hub.tail_bytes for hub in self._hubs),
        )

    def _of_events(self) -> Iterator[Metric]:
        each = [hub.stats for hub in self._hubs]
        received, delivered = sum(stats.dispatched for stats in each), sum(stats.delivered for stats in each)
        size = sum(stats.delivered_bytes for stats in each)
        yield CounterMetricFamily("gateway_events_received", "Events from the broker", received)
        yield CounterMetricFamily("gateway_events_delivered", "Events written to streams", delivered)
        yield CounterMetricFamily("gateway_delivered_bytes", "Bytes of events written to streams", size)
        yield histogram(
            "gateway_event_latency_seconds",
            "From an event's publish until the last live stream was given it; of events written together, the oldest",
            total(stats.late for stats in each),
        )
        yield histogram(
            "gateway_fan_out_seconds",
            "To write what waited to all live streams it is for",
            total(stats.fan_out for stats in each),
        )

    def _of_catching_up(self) -> Iterator[Metric]:
        each, relays = [hub.stats for hub in self._hubs], self._relays
        catch_ups = CounterMetricFamily(
            "gateway_catch_ups", "Catch-ups that ended, by cause and outcome", labels=["cause", "outcome"]
        )
        for cause in Cause:
            for outcome in Outcome:
                catch_ups.add_metric(
                    [cause.value, outcome.value], sum(relay.catch_ups[cause, outcome] for relay in relays)
                )
        yield catch_ups
        seconds, reads = total(relay.catch_up_seconds for relay in relays), sum(relay.history_reads for relay in relays)
        fell, gaps = sum(stats.fell_behind for stats in each), sum(stats.gaps_told for stats in each)
        yield histogram("gateway_catch_up_seconds", "Catch-ups that ended live", seconds)
        yield CounterMetricFamily("gateway_history_reads", "Pages of history asked for to catch up", reads)
        yield CounterMetricFamily("gateway_fell_behind", "Times a client read too slowly", fell)
        yield CounterMetricFamily("gateway_gaps_told", "Gaps told to clients", gaps)

    def _of_the_broker(self) -> Iterator[Metric]:
        brokers = [relay.broker for relay in self._relays]
        up, each = all(broker.health() is None for broker in brokers), [broker.stats for broker in brokers]
        reconnects, garbage = sum(stats.reconnects for stats in each), sum(stats.garbage for stats in each)
        heals = sum(relay.healing.heals for relay in self._relays)
        warnings = len({warning for broker in brokers for warning in broker.warnings()})
        yield GaugeMetricFamily("gateway_broker_link_up", "1 while announcements are heard", int(up))
        yield CounterMetricFamily("gateway_broker_reconnects", "Links that were up, and were lost", reconnects)
        yield GaugeMetricFamily(
            "gateway_broker_warnings", "Faults of how the broker is set up; /readyz names them", warnings
        )
        waiting, size = sum(stats.waiting_events for stats in each), sum(stats.waiting_bytes for stats in each)
        yield GaugeMetricFamily("gateway_publish_waiting_events", "Events that wait for Redis to take them", waiting)
        yield GaugeMetricFamily("gateway_publish_waiting_bytes", "Bytes of their data", size)
        yield CounterMetricFamily("gateway_heals", "Healings after a lost link", heals)
        yield CounterMetricFamily("gateway_broker_garbage", "Messages that were no events", garbage)
        yield histogram(
            "gateway_broker_probe_seconds",
            "From sending a probe until it was heard on the link",
            total(stats.probe for stats in each),
        )
        ahead = GaugeMetricFamily(
            "gateway_broker_clock_ahead_seconds", "How far the broker's clock is ahead of this machine's, while known"
        )
        clocks = [now_ms for broker in brokers if (now_ms := broker.now_ms()) is not None]
        if clocks:  # the one that is furthest from it
            ahead.add_metric([], max((ms / 1000 - time.time() for ms in clocks), key=abs))
        yield ahead


def histogram(name: str, documentation: str, measured: Distribution) -> HistogramMetricFamily:
    bounds = [str(float(bound)) for bound in measured.bounds] + ["+Inf"]
    buckets = list(zip(bounds, accumulate(measured.counts), strict=True))
    return HistogramMetricFamily(name, documentation, buckets=buckets, sum_value=measured.sum)
