"""What the handlers share: one `Gateway` per process, under one application key."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from ..auth.identity import Publisher, Subscriber
from ..auth.publish_keys import PublishKeys
from ..auth.remembering import Remembering
from ..auth.verifier import Verifier
from ..broker.registry import Registry
from ..catalogue import Catalogue
from ..config import Settings
from ..guide import Guide
from ..hub import Hub
from ..relay import Relay
from ..relays import Relays
from ..telemetry.metrics import Metrics
from .newcomers import Newcomers
from .overload import Overload
from .publish_rate import PublishRate

if TYPE_CHECKING:
    from .console.board import Board


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

    `ending` holds those whose last bytes are on their way; `failed` names background tasks that died, for `/readyz`.
    `console_keys` has the one of GATEWAY_CONSOLE_KEY, or none; `board` is None where there is no console.
    `place` is None where this process is the only one, and `verifier` where no tokens are taken; then there are neither
    `subscriber_tokens` nor `publisher_tokens`. `publish_rate` is None where publishers have no limit.
    """

    settings: Settings
    relays: Relays
    registry: Registry
    metrics: Metrics
    overload: Overload
    publish_keys: PublishKeys
    console_keys: PublishKeys
    verifier: Verifier | None = None
    catalogue: Catalogue | None = None
    place: Place | None = None
    board: Board | None = None
    draining: bool = False
    ending: set[Guide] = field(default_factory=set)
    failed: list[str] = field(default_factory=list)
    subscriber_tokens: Remembering[Subscriber] | None = field(init=False, default=None)
    publisher_tokens: Remembering[Publisher] | None = field(init=False, default=None)
    publish_rate: PublishRate | None = field(init=False, default=None)
    newcomers: Newcomers = field(init=False)

    @property
    def has_console(self) -> bool:
        return self.settings.dev or bool(self.console_keys)

    def __post_init__(self) -> None:
        self.newcomers = Newcomers(self.settings)
        if self.verifier is not None:
            self.subscriber_tokens = Remembering(self.verifier, Subscriber.of)
            self.publisher_tokens = Remembering(self.verifier, Publisher.of)
        if self.settings.publish_rate:
            self.publish_rate = PublishRate(self.settings.publish_rate, self.settings.publish_burst)

    @property
    def relay(self) -> Relay:
        """The only one, where the broker has one partition."""
        (relay,) = self.relays
        return relay

    @property
    def hub(self) -> Hub:
        return self.relay.hub


GATEWAY = web.AppKey("gateway", Gateway)
