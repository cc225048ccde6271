"""`memory://`: the broker inside the process, for development, tests and single-process installations.

Same contract, same history rules as Redis; nothing survives the process. Announcing is a plain call, so an event
is on its way to the connections before `publish` returns.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from ..events import Entry
from ..ids import EventId
from .base import BrokerStats, Listener, Page, Publication, Receipt, Touched
from .history import MEMORY_OF_LAST, Horizon, Slice, page

JOURNAL_LENGTH = 10_000
SWEEP_EVERY_MS = 1_000


@dataclass(slots=True)
class _Channel:
    entries: deque[Entry] = field(default_factory=deque)
    last: EventId | None = None


def wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


class MemoryBroker:
    """See `gateway.broker.base.Broker` for the contract."""

    def __init__(
        self,
        *,
        retention: bool = True,
        max_events: int = 1000,
        ttl: float = 3600,
        idempotency_ttl: float = 3600,
        clock_ms: Callable[[], int] = wall_clock_ms,
    ) -> None:
        self.retention = retention
        self.stats = BrokerStats()
        self._max_events = max_events
        self._ttl_ms = int(ttl * 1000)
        self._idempotency_ttl_ms = int(idempotency_ttl * 1000)
        self._clock_ms = clock_ms
        self._epoch = self._last = EventId(clock_ms(), 0)
        self._journal: deque[tuple[EventId, str]] = deque([(self._epoch, "")], maxlen=JOURNAL_LENGTH)
        self._channels: dict[str, _Channel] = {}
        self._answers: OrderedDict[tuple[str, str], tuple[int, Receipt]] = OrderedDict()
        self._subscribed: set[str] = set()
        self._listener: Listener | None = None
        self._swept_ms = clock_ms()

    async def start(self, listener: Listener) -> None:
        self._listener = listener

    async def close(self) -> None:
        self._listener = None
        self._subscribed.clear()

    async def publish(self, items: Sequence[Publication]) -> list[Receipt]:
        now = self._clock_ms()
        self._sweep(now)
        return [self._publish_once(item, now) for item in items]

    async def subscribe(self, channel: str) -> None:
        self._subscribed.add(channel)

    def unsubscribe(self, channel: str) -> None:
        self._subscribed.discard(channel)

    async def tip(self) -> EventId:
        return self._last

    async def read(self, channels: Sequence[str], after: EventId, limit: int) -> Page:
        now = self._clock_ms()
        self._sweep(now)
        slices = [self._slice(channel, after, limit) for channel in channels]
        memory_ms = self._ttl_ms * MEMORY_OF_LAST
        since, beyond = now - memory_ms, None
        if after.ms < since:  # else it does not matter
            beyond = max((id for id, _ in self._journal if id.ms <= since), default=None)
        return page(slices, after, Horizon(self._epoch, self._last, now, memory_ms, beyond))

    async def touched(self, after: EventId, limit: int) -> Touched:
        newer = [item for item in self._journal if item[0] > after]
        intact = any(id == after for id, _ in self._journal)
        return Touched(newer[:limit], intact, complete=len(newer) <= limit)

    def health(self) -> str | None:
        return None if self._listener is not None else "the broker is closed"

    def failed(self) -> str | None:
        return None

    def now_ms(self) -> float | None:
        return self._clock_ms()

    def warnings(self) -> list[str]:
        return []

    def _publish_once(self, item: Publication, now: int) -> Receipt:
        key = item.idempotency_key or item.event.id
        if key is None:
            return self._store_and_announce(item, now)
        answered = self._answers.get((item.channel, key))
        if answered is not None and answered[0] > now:
            return answered[1]
        receipt = self._store_and_announce(item, now)
        self._answers[item.channel, key] = (now + self._idempotency_ttl_ms, receipt)
        self._answers.move_to_end((item.channel, key))
        return receipt

    def _store_and_announce(self, item: Publication, now: int) -> Receipt:
        id, previous = None, None
        channel = self._channels.get(item.channel)
        if self.retention:
            id = self._last = EventId(now, 0) if now > self._last.ms else EventId(self._last.ms, self._last.seq + 1)
            self._journal.append((id, item.channel))
            if channel is None:
                channel = self._channels[item.channel] = _Channel()
            previous, channel.last = channel.last, id
        entry = Entry.of(item.event, item.channel, id, previous)
        if channel is not None and id is not None:
            channel.entries.append(entry)
            if len(channel.entries) > self._max_events:
                channel.entries.popleft()
        heard = item.channel in self._subscribed
        if self._listener is not None:
            if heard:
                self._listener.announce(entry)
            elif id is not None:
                self._listener.watermark(id)
        return Receipt(id, int(heard))

    def _slice(self, name: str, after: EventId, limit: int) -> Slice:
        channel = self._channels.get(name)
        if channel is None:
            return Slice(name, [], False, None, None)
        newer = list(islice((e for e in channel.entries if e.id is not None and e.id > after), limit + 1))
        oldest = channel.entries[0].id if channel.entries else None
        return Slice(name, newer[:limit], len(newer) > limit, channel.last, oldest)

    def _sweep(self, now: int) -> None:
        """Forget what is past its time: entries, then last ids, then answers to idempotency keys."""
        if now - self._swept_ms < SWEEP_EVERY_MS:
            return
        self._swept_ms = now
        for name, channel in list(self._channels.items()):
            while channel.entries and (id := channel.entries[0].id) and id.ms < now - self._ttl_ms:
                channel.entries.popleft()
            if channel.last is None or channel.last.ms < now - self._ttl_ms * MEMORY_OF_LAST:
                del self._channels[name]
        while self._answers and next(iter(self._answers.values()))[0] <= now:
            self._answers.popitem(last=False)
