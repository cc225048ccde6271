"""What the handlers share: one `Gateway` per process, under one application key."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from aiohttp import web

from ..config import Settings
from ..hub import Hub
from ..relay import Relay
from ..telemetry.metrics import Metrics
from .auth import Publishers, Subscribers


@dataclass(slots=True)
class Gateway:
    """The parts of a running process.

    `users` counts the streams of each user here; `failed` names background tasks that died, for `/readyz`.
    """

    settings: Settings
    hub: Hub
    relay: Relay
    subscribers: Subscribers
    publishers: Publishers
    metrics: Metrics
    draining: bool = False
    users: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)


GATEWAY = web.AppKey("gateway", Gateway)
