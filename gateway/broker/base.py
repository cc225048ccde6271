"""The broker port: what the gateway needs of whatever carries and keeps its events.

Rule: the broker owns order and history, and knows nothing of connections. It assigns ids, stores, announces, and
hands announcements to a `Listener` (the relay), on the event loop, never concurrently.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from ..distribution import Distribution
from ..events import Entry, SSEEvent
from ..ids import EventId

PROBE_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)


class Publication(NamedTuple):
    """One event bound for one channel. With `idempotency_key`, published at most once in its lifetime."""

    channel: str
    event: SSEEvent
    idempotency_key: str | None = None


class Receipt(NamedTuple):
    """`id` is None with retention off; `receivers` counts the processes that had somebody on the channel."""

    id: EventId | None
    receivers: int


class Page(NamedTuple):
    """A stretch of history of several channels, whole from the cursor asked for up to `upto`.

    entries   in id order, all after the cursor
    upto      the cursor of whoever has been given the entries
    tip       the tip of the partition when this was read; where it is `upto`, there is no more
    lost      the channels of which something between the cursor and `upto` was, or may have been, lost
    oldest    the oldest id still kept in these channels, for the report of a gap
    """

    entries: list[Entry]
    upto: EventId
    tip: EventId
    lost: tuple[str, ...] = ()
    oldest: EventId | None = None


class Touched(NamedTuple):
    """The journal after an id: which channels got events, in order.

    intact    the id itself is still in the journal: nothing is missing, and its history was not rewritten
    complete  the journal ended here when it was read
    """

    channels: list[tuple[EventId, str]]
    intact: bool
    complete: bool


@dataclass(slots=True)
class BrokerStats:
    """Counters since start, of all links there are; read by metrics.

    reconnects  links that were up, and were lost
    garbage     messages, and entries of histories, that were no events
    probe       seconds from the sending of a probe until it was heard
    waiting_…   events that are to be published and wait for a call, and the bytes of their data: now, not since start
    """

    reconnects: int = 0
    garbage: int = 0
    waiting_events: int = 0
    waiting_bytes: int = 0
    probe: Distribution = field(default_factory=lambda: Distribution(*PROBE_BUCKETS))


class Listener(Protocol):
    """What a broker tells. Plain functions: they return at once and never raise."""

    def announce(self, entry: Entry) -> None:
        """An event on a subscribed channel, in publish order."""
        ...

    def watermark(self, tip: EventId) -> None:
        """Every announcement of an id up to `tip` has been made."""
        ...

    def link_lost(self) -> None:
        """Announcements may be missing from now on, until `link_restored`. May be told more than once."""
        ...

    def link_restored(self) -> None:
        """All subscribed channels are announced again; what came between must be read from history."""
        ...


class Broker(Protocol):
    """The port. Every adapter passes `tests/broker/contract.py`.

    - `publish` is atomic: all items are stored and announced, or none, in order, with increasing ids. It raises
      `BrokerUnavailable` within the publish timeout, and then whether the items were stored is unknown: only an
      idempotency key makes it safe to send again. What it returned is in the history.
    - `subscribe` returns once the broker has confirmed that announcements flow; it waits while the link is down,
      and may be cancelled. Subscribing twice is subscribing once. `unsubscribe` is immediate.
    - `read` and `touched` never see half of a `publish`. They raise `BrokerUnavailable`.
    - No method blocks the event loop. `close` ends every task and connection, and is idempotent.
    """

    retention: bool
    stats: BrokerStats

    async def start(self, listener: Listener) -> None: ...

    async def close(self) -> None: ...

    async def publish(self, items: Sequence[Publication]) -> list[Receipt]: ...

    async def subscribe(self, channel: str) -> None: ...

    def unsubscribe(self, channel: str) -> None: ...

    async def tip(self) -> EventId:
        """The id of the last event published on any channel."""
        ...

    async def read(self, channels: Sequence[str], after: EventId, limit: int) -> Page:
        """History after a cursor, at most `limit` entries of each channel; fewer when they are large."""
        ...

    async def touched(self, after: EventId, limit: int) -> Touched: ...

    def health(self) -> str | None:
        """Why this process does not hear the broker now, or None when it does."""
        ...

    def failed(self) -> str | None:
        """Why this process will never hear it again, so that only another process can help, or None."""
        ...

    def now_ms(self) -> float | None:
        """The clock that ids are made of, in milliseconds since 1970; None while it is not known."""
        ...

    def warnings(self) -> list[str]:
        """How the broker is set up so that it works now, and may not keep what is promised; each with the remedy."""
        ...
