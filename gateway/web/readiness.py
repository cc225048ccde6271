"""Whether new streams should come here, and whether only a restart can help: every reason by its name.

Rule: `/livez` fails only where the process will never be well again. What may pass by itself is `/readyz`'s: Redis
away, a drain, too much to do.

Too much to do must not take a service down. Where more than half of several processes have, to send newcomers
elsewhere helps nobody, and a balancer that has no process left turns publishers away too: so then it is told, and is
no reason any more. Who is full refuses newcomers by itself, and says when to come back. (Envoy's panic threshold does
the same.) Nobody but its balancer knows what is best for a process that is the only one: it is not ready.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from .context import Gateway
from .overload import FULL, LAGGING, Reason

TASK, DRAINING, BROKER, JWKS = "task", "draining", "broker", "jwks"
NAMES = (TASK, DRAINING, BROKER, JWKS, FULL, LAGGING)
"""All reasons there are: labels of `gateway_unready`, and what `/readyz?exclude=` takes."""


class Standing(NamedTuple):
    """`reasons` make it unready. `despite` would, if it were not so with most of the others."""

    reasons: list[Reason]
    despite: list[Reason]


def standing(gateway: Gateway, exclude: Collection[str] = ()) -> Standing:
    """Of this process alone; what is excluded is not looked at."""
    reasons = [reason for reason in _of_itself(gateway) if reason.name not in exclude]
    overload = [reason for reason in gateway.overload.reasons() if reason.name not in exclude]
    if _most_are_overloaded(gateway):
        return Standing(reasons, overload)
    return Standing(reasons + overload, [])


def must_restart(gateway: Gateway) -> list[str]:
    """Why this process will never be well again: something that is to run as long as it does has ended."""
    endings = (gateway.relays.failed(), gateway.registry.failed())
    return [*gateway.failed, *(ending for ending in endings if ending is not None)]


def _of_itself(gateway: Gateway) -> Iterator[Reason]:
    for name in (*gateway.failed, gateway.registry.failed()):
        if name is not None:
            yield Reason(TASK, name)
    if gateway.draining:
        yield Reason(DRAINING, DRAINING)
    if (broker := gateway.relays.health()) is not None:
        yield Reason(BROKER, f"broker: {broker}")
    if gateway.verifier is not None and (jwks := gateway.verifier.keys.health()) is not None:
        yield Reason(JWKS, f"jwks: {jwks}")


def _most_are_overloaded(gateway: Gateway) -> bool:
    """Of several processes more than half, this one counted among them."""
    fleet = gateway.registry.fleet()
    return fleet.living > 1 and (fleet.overloaded + 1) * 2 > fleet.living


class Readiness(Collector):
    """The same as series, for dashboards and alerts."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def collect(self) -> Iterator[Metric]:
        reasons, despite = standing(self._gateway)
        yield GaugeMetricFamily("gateway_ready", "1 while /readyz says so", int(not reasons))
        unready = GaugeMetricFamily(
            "gateway_unready",
            "1 while this speaks against being ready, even where it is the same with most other processes",
            labels=["reason"],
        )
        names = {reason.name for reason in (*reasons, *despite)}
        for name in NAMES:
            unready.add_metric([name], int(name in names))
        yield unready
        yield GaugeMetricFamily("gateway_draining", "1 from SIGTERM on", int(self._gateway.draining))
        yield GaugeMetricFamily(
            "gateway_connections_limit", "Streams that this process may have", self._gateway.overload.most
        )
        fleet = self._gateway.registry.fleet()
        yield GaugeMetricFamily("gateway_processes", "Living processes that share the broker", fleet.living)
