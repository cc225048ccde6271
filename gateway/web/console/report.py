"""What a process says of itself to whoever looks at the console."""

from __future__ import annotations

import heapq
import os
import resource
import socket
import time
from collections import Counter as Tally
from collections.abc import Collection
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any

import msgspec
from prometheus_client import Counter

from ... import __version__, channels
from ...distribution import total
from ...hub import Connection, State
from ..carrier import Carrier
from ..context import Gateway
from ..readiness import DRAINING, standing

BUSIEST = 20
STREAMS_OF_A_USER = 100
PAGE_SIZE = resource.getpagesize()


@dataclass(slots=True)
class Self:
    """Who reports. The name is unique for a life of a process, and says where it runs."""

    gateway: Gateway
    name: str = field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}-{token_hex(2)}")
    started: float = field(default_factory=time.monotonic)

    def report(self, watched: Collection[str], lag: float, *, closely: bool) -> bytes:
        """As JSON. `watched` are users whose streams are told of; `lag` (s) is the loop's worst since the last one.

        `closely`: with what takes a walk over all channels.
        """
        gateway = self.gateway
        return msgspec.json.encode(
            {
                "name": self.name,
                "at": round(time.time() * 1000),
                "version": __version__,
                "uptime": round(time.monotonic() - self.started, 1),
                "draining": gateway.draining,
                "not_ready": [reason.text for reason in standing(gateway).reasons if reason.name != DRAINING],
                "broker": self._broker(),
                "streams": self._streams(),
                "channels": sum(len(relay.hub.channels) for relay in gateway.relays),
                "busiest": self._busiest() if closely else [],
                "counters": self._counters(),
                "lag_ms": round(lag * 1000, 1),
                "memory": _memory(),
                "users": self._users(watched),
            }
        )

    def _broker(self) -> dict[str, Any]:
        each = [relay.broker for relay in self.gateway.relays]
        probe = total(broker.stats.probe for broker in each)
        return {
            "scheme": self.gateway.settings.broker_url.partition(":")[0],
            "health": next((reason for broker in each if (reason := broker.health()) is not None), None),
            "probe_ms": round(probe.sum / heard * 1000, 2) if (heard := sum(probe.counts)) else None,
            "reconnects": sum(broker.stats.reconnects for broker in each),
        }

    def _streams(self) -> dict[str, int]:
        states = Tally(connection.state for connection in self.gateway.relays.streams())
        return {state.value: states[state] for state in (State.LIVE, State.BEHIND, State.CATCHING_UP)}

    def _busiest(self) -> list[tuple[str, int]]:
        members: Tally[str] = Tally()
        for relay in self.gateway.relays:
            members.update({name: channel.members for name, channel in relay.hub.channels.items()})
        told = ((name, count) for name, count in members.items() if count and channels.kind(name) != "console")
        return heapq.nlargest(BUSIEST, told, key=lambda item: item[1])

    def _counters(self) -> dict[str, float]:
        metrics, each = self.gateway.metrics, [relay.hub.stats for relay in self.gateway.relays]
        return {
            "opened": _total(metrics.opened),
            "refused": _total(metrics.refused),
            "published": _total(metrics.published),
            "received": sum(stats.dispatched for stats in each),
            "delivered": sum(stats.delivered for stats in each),
            "bytes": sum(stats.delivered_bytes for stats in each),
            "gaps": sum(stats.gaps_told for stats in each),
        }

    def _users(self, watched: Collection[str]) -> dict[str, list[dict[str, Any]]]:
        told: dict[str, list[dict[str, Any]]] = {user_id: [] for user_id in watched}
        own = {channels.user(user_id): streams for user_id, streams in told.items()}
        if own:
            for connection in self.gateway.relays.streams():
                streams = own.get(connection.channels[0])
                if streams is not None and len(streams) < STREAMS_OF_A_USER:
                    streams.append(_stream(connection))
        return told


def _stream(connection: Connection) -> dict[str, Any]:
    now, carrier = time.monotonic(), connection.guide
    attached = hasattr(connection, "sink")
    return {
        "state": connection.state.value,
        "seconds": round(now - carrier.since, 1) if isinstance(carrier, Carrier) else 0,
        "cursor": str(connection.last_event_id()),
        "waiting": connection.buffered() if attached else 0,
        "silent": round(now - connection.sent_at, 1) if attached else 0,
        "topics": [name for name in connection.channels if channels.kind(name) == "topic"],
        "types": list(connection.types),
    }


def _total(counter: Counter) -> float:
    samples = (sample for metric in counter.collect() for sample in metric.samples)
    return sum(sample.value for sample in samples if sample.name.endswith("_total"))


def _memory() -> int:
    """Resident bytes (proc(5), statm); 0 where there is no such file."""
    try:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * PAGE_SIZE
    except OSError:
        return 0
