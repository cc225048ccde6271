"""What the handlers share: one `Gateway` per process, under one application key."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from ..config import Settings
from ..guide import Guide
from ..hub import Hub
from ..relay import Relay
from ..telemetry.metrics import Metrics
from .auth import Publishers, Subscribers


@dataclass(frozen=True, slots=True)
class Place:
    """A worker's place among its like (`GATEWAY_WORKERS`). Each answers the others on a socket in `directory`."""

    number: int
    count: int
    directory: str

    def socket_of(self, number: int) -> str:
        return str(Path(self.directory, f"{number}.sock"))

    @property
    def others(self) -> list[int]:
        return [number for number in range(self.count) if number != self.number]


@dataclass(slots=True)
class Gateway:
    """The parts of a running process.

    `users` counts the streams of each user here; `ending` holds those whose last bytes are on their way; `failed`
    names background tasks that died, for `/readyz`. `place` is None where this process is the only one.
    """

    settings: Settings
    hub: Hub
    relay: Relay
    subscribers: Subscribers
    publishers: Publishers
    metrics: Metrics
    place: Place | None = None
    draining: bool = False
    users: Counter[str] = field(default_factory=Counter)
    ending: set[Guide] = field(default_factory=set)
    failed: list[str] = field(default_factory=list)


GATEWAY = web.AppKey("gateway", Gateway)
