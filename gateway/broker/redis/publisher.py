"""Publishing: whatever waits goes to Redis as one script call.

While a call is under way, new publishes gather; the next call takes them all. So one publish alone costs one
round trip, and many at once share it, without a timer. Also what a backend service uses directly
(`gateway.client`): this module and its script are all that it takes to publish.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from redis.asyncio import Redis
from redis.exceptions import RedisError

from ...channels import Keys
from ...errors import BrokerUnavailable, Overloaded
from ...ids import EventId
from ..base import BrokerStats, Publication, Receipt
from ..history import MEMORY_OF_LAST
from .bounds import Bounds
from .examine import explained

JOURNAL_LENGTH = 100_000
EVENTS_PER_CALL = 256


def script(*names: str, sharded: bool = False) -> str:
    """The text of this package's Lua files, one after the other; `sharded` is for a cluster's pub/sub."""
    text = "\n".join((resources.files(__package__) / f"{name}.lua").read_text() for name in names)
    return text.replace("'PUBLISH'", "'SPUBLISH'") if sharded else text


@dataclass(frozen=True, slots=True)
class Policy:
    """What is kept, and for how long (seconds). Publishers of one prefix should agree on it."""

    retention: bool = True
    max_events: int = 1000
    ttl: float = 3600
    idempotency_ttl: float = 3600

    def argv(self) -> tuple[str | int, ...]:
        ttl_ms = int(self.ttl * 1000)
        return (
            "1" if self.retention else "0",
            self.max_events,
            ttl_ms,
            ttl_ms * MEMORY_OF_LAST,
            JOURNAL_LENGTH,
            max(int(self.idempotency_ttl * 1000), 1),
        )


@dataclass(slots=True)
class _Waiting:
    items: Sequence[Publication]
    size: int
    answer: asyncio.Future[list[Receipt]]


class RedisPublisher:
    """Publishes lists of events, each list atomically and in order. `timeout` (s) bounds each call in all.

    What waits is in `stats`.
    """

    def __init__(
        self,
        client: Redis,
        keys: Keys,
        policy: Policy,
        *,
        timeout: float,
        sharded: bool = False,
        bounds: Bounds | None = None,
        stats: BrokerStats | None = None,
    ) -> None:
        self._keys = keys
        self._policy = policy.argv()
        self._timeout = timeout
        self._script = client.register_script(script("publish", sharded=sharded))
        self._bounds = bounds or Bounds()
        self._stats = stats or BrokerStats()
        self._waiting: deque[_Waiting] = deque()
        self._lane: asyncio.Task[None] | None = None

    async def publish(self, items: Sequence[Publication]) -> list[Receipt]:
        """Raises `BrokerUnavailable` when there is no answer in time, and `Overloaded` when too much waits already."""
        size = sum([len(event.data_json) for _, event, _ in items])
        self._make_sure_of_room(len(items), size)
        waiting = _Waiting(items, size, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._stats.waiting_events += len(items)
        self._stats.waiting_bytes += size
        if self._lane is None or self._lane.done():
            self._lane = asyncio.create_task(self._run(), name="redis-publish")
        try:
            async with asyncio.timeout(self._timeout):
                return await waiting.answer
        except TimeoutError:
            raise BrokerUnavailable(f"Redis did not answer a publish within {self._timeout:g} s") from None

    def _make_sure_of_room(self, events: int, size: int) -> None:
        stats, bounds = self._stats, self._bounds
        if stats.waiting_events + events > bounds.waiting_events:
            raise Overloaded(f"{bounds.waiting_events} events may wait for Redis (GATEWAY_MAX_WAITING_EVENTS)")
        if stats.waiting_bytes + size > bounds.waiting_bytes:
            raise Overloaded(f"{bounds.waiting_bytes} bytes may wait for Redis (GATEWAY_MAX_WAITING_BYTES)")

    async def close(self) -> None:
        if self._lane is not None:
            self._lane.cancel()
            await asyncio.gather(self._lane, return_exceptions=True)

    async def _run(self) -> None:
        while self._waiting:
            taken = self._take()
            if not taken:
                continue
            try:
                async with asyncio.timeout(self._timeout):
                    receipts = await self._call([item for waiting in taken for item in waiting.items])
            except (RedisError, OSError, TimeoutError) as error:
                _fail(taken, BrokerUnavailable(f"Redis did not take the event: {explained(error)}"))
            except BaseException:
                _fail(taken, BrokerUnavailable("the publisher is closing"))
                raise
            else:
                _answer(taken, receipts)

    def _take(self) -> list[_Waiting]:
        """The next lists, as many as one call should carry (a list is never split); given-up ones are dropped."""
        taken: list[_Waiting] = []
        size = 0
        while self._waiting and (not taken or size + len(self._waiting[0].items) <= EVENTS_PER_CALL):
            waiting = self._waiting.popleft()
            self._stats.waiting_events -= len(waiting.items)
            self._stats.waiting_bytes -= waiting.size
            if not waiting.answer.done():
                taken.append(waiting)
                size += len(waiting.items)
        return taken

    async def _call(self, items: Sequence[Publication]) -> list[Receipt]:
        keys, args = [self._keys.journal], list(self._policy)
        for channel, event, given_key in items:
            key = given_key or event.id
            keys += (
                self._keys.history(channel),
                self._keys.last(channel),
                self._keys.dedupe(channel, key) if key else self._keys.journal,
            )
            args += (channel, self._keys.pubsub(channel), event.to_envelope(), "k" if key else "")  # type: ignore[arg-type]
        answers: list[tuple[bytes, int]] = await self._script(keys=keys, args=args)
        return [Receipt(EventId.parse(id.decode()) if id else None, receivers) for id, receivers in answers]


def _answer(taken: list[_Waiting], receipts: list[Receipt]) -> None:
    start = 0
    for waiting in taken:
        end = start + len(waiting.items)
        if not waiting.answer.done():
            waiting.answer.set_result(receipts[start:end])
        start = end


def _fail(taken: list[_Waiting], error: BrokerUnavailable) -> None:
    for waiting in taken:
        if not waiting.answer.done():
            waiting.answer.set_exception(error)
