"""What is asked, and what was measured. A value that cannot be is refused by the name of its option or figure."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

FIGURES = Path(__file__).resolve().parents[1] / "measured.json"


class BadInput(ValueError):
    """An option or a figure that cannot be; the message names it."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured: CPU in µs, memory in bytes. Each name is a figure in measured.json, which says what it is."""

    delivery_us: float  # gateway, one delivery of a broadcast
    user_delivery_us: float  # gateway, one event to one user: announcement, frame, write
    heartbeat_us: float
    connect_us: float  # gateway, a new client: token, subscription, position
    resume_us: float  # gateway, one that comes back with its cursor and missed nothing
    leave_us: float
    post_us: float  # gateway, one POST with one event
    idle_us: float  # gateway, per second, with nobody connected
    process_bytes: float
    connection_bytes: float
    socket_bytes: float  # kernel, one end of an idle connection
    redis_call_us: float  # one publish.lua call, without its events
    redis_event_us: float  # one event in it
    redis_announcement_us: float  # to one process, in a write of its own
    redis_connect_us: float
    redis_resume_us: float
    redis_resume_entry_us: float  # on top, per entry in the journal
    redis_leave_us: float
    redis_process_us: float  # per process and second: probe, PING
    redis_channel_bytes: float  # one subscribed channel
    redis_stored_bytes: float  # one event in a history, without its data
    frame_bytes: float  # one delivery, without its data
    announcement_bytes: float  # one announcement, without its data

    @classmethod
    def load(cls, path: Path = FIGURES) -> Measured:
        """Read the figures; raises `BadInput` naming what is missing, unknown or negative."""
        try:
            found: dict[str, Any] = json.loads(path.read_text())["figures"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadInput(f"--measured: {path} cannot be read: {error}") from None
        names = {f.name for f in fields(cls)}
        if wrong := names ^ found.keys():
            raise BadInput(f"--measured: {', '.join(sorted(wrong))}: missing, or no figure of this model")
        values = {name: figure.get("value") for name, figure in found.items()}
        for name, value in values.items():
            if not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise BadInput(f"--measured: {name}: a number from 0 on, not {value!r}")
        return cls(**values)


def _option(default: float, help: str, least: float = 0.0, most: float = math.inf) -> Any:
    return field(default=default, metadata={"help": help, "least": least, "most": most})


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be carried, and what is assumed. A value out of its range raises `BadInput` naming its option."""

    users: float = _option(math.nan, "users online at once", 1, 1e10)
    events: float = _option(-1.0, "events/s to single users; -1: one per user and 100 s", -1)
    broadcasts: float = _option(0.02, "broadcasts/s to everyone")
    event_bytes: float = _option(200, "data of one event", 1, 1e6)
    more_tabs: float = _option(0.2, "share of users with more than one connection", 0, 1)
    tabs: float = _option(2, "how many connections these have", 2, 32)
    session: float = _option(1800, "seconds a connection lasts; then another one comes", 1)
    posts: float = _option(1, "share of the events that come by POST, not straight to Redis", 0, 1)
    batch: float = _option(1, "events per publish call", 1, 256)
    zipf: float = _option(0.6, "how unevenly users get events (power law): 0 all alike, 0.95 a few most", 0, 0.95)
    stored: float = _option(20, "events kept per user, on average (at most GATEWAY_RETENTION_MAX_EVENTS)")
    headroom: float = _option(0.4, "share of each core that stays free in ordinary times", 0, 0.95)
    redis_headroom: float = _option(0.4, "the same for Redis' one thread", 0, 0.95)
    broadcast_ms: float = _option(200, "a broadcast is on its way to all within this time", 1)
    most: float = _option(20_000, "connections of one process at most", 1)
    pod_cores: float = _option(1, "processes, each with a core, of one pod", 1, 256)
    pod_memory: float = _option(1, "GiB of one pod", 0.125)
    deploy: float = _option(900, "seconds a rolling deploy may take", 1)
    drain: float = _option(20, "GATEWAY_DRAIN_SECONDS", 1)
    ready: float = _option(10, "seconds from the end of a drain to a new process that takes clients", 1)
    retry_ms: float = _option(3000, "GATEWAY_RETRY_MS", 100)
    heartbeat: float = _option(15, "GATEWAY_HEARTBEAT_INTERVAL", 1)
    heal: float = _option(10, "seconds of a lost link that the journal must reach back over", 1)
    price_core: float = _option(25, "of a core for a month")
    price_gib: float = _option(3, "of a GiB of memory for a month")
    price_egress: float = _option(0.05, "of a GB sent to clients")
    redis_copies: float = _option(2, "Redis servers per partition: the master and its replicas", 1)
    balancer: str = field(default="least_conn", metadata={"help": "least_conn or random (round robin is like random)"})

    def __post_init__(self) -> None:
        for f in fields(self):
            value, meta = getattr(self, f.name), f.metadata
            if "least" in meta and not (meta["least"] <= value <= meta["most"] and math.isfinite(value)):
                span = (
                    f"from {meta['least']:g} to {meta['most']:g}"
                    if meta["most"] < math.inf
                    else f"{meta['least']:g} or more"
                )
                raise BadInput(f"--{f.name.replace('_', '-')}: a number, {span}, not {value:g}")
        if self.balancer not in ("least_conn", "random"):
            raise BadInput(f"--balancer: least_conn or random, not {self.balancer!r}")
        if self.deploy < 2 * (self.drain + self.ready):
            raise BadInput("--deploy: at least two batches must fit, each of --drain and --ready seconds")

    @property
    def events_per_second(self) -> float:
        return self.users / 100 if self.events < 0 else self.events
