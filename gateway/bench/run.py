"""A run: one stream and one event to try the way, then all streams, then the events, then what is still due.

Publishing is open-loop: event n is due at n / rate, however long the answers take, until `IN_FLIGHT` of them are
awaited. Streams are not opened again: one that ends is told as such.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..client.transport import Transport
from ..errors import BrokerUnavailable, GatewayError
from . import advice
from .latencies import Latencies
from .ledger import Inbox, Ledger
from .plan import PROBE, CannotRun, Plan, Subscriber, Target
from .stream import NotOpened, Stream, open_stream
from .wire import Item, Tick

OPENING = 100
"""Streams that are being opened at once."""
IN_FLIGHT = 64
POST_WITHIN = 10.0
PROBE_WITHIN = 10.0
SETTLED_AFTER = 5.0
"""Seconds without a delivery after which what is missing is lost."""
DOUBLES_WITHIN = 0.25
LAG_EVERY = 0.05
LOOKS_EVERY = 0.2
"""Seconds within which it is seen that publishing is to end."""
TRYING, PUBLISHING = "trying the way", "publishing"

now = time.perf_counter


class Lost(GatewayError):
    """The event that tried the way was accepted, and did not arrive."""


@dataclass(slots=True)
class Published:
    """`refused` were not stored, of those `unanswered` it is not known. `seconds`: from first event to last answer."""

    refused: int = 0
    unanswered: int = 0
    seconds: float = 0.0
    latencies: Latencies = field(default_factory=Latencies)


class Run:
    """`phase`, `done` and `total` say how far it is. `errors` counts what was said, for streams and publishes."""

    def __init__(self, plan: Plan, transport: Transport, publish_url: str) -> None:
        self.plan = plan
        self.phase, self.done, self.total = TRYING, 0, len(plan.subscribers)
        self.open: list[tuple[Stream, Subscriber]] = []
        self.not_opened: Counter[str] = Counter()
        self.not_published: Counter[str] = Counter()
        self.ended_early = 0
        self.stopped = False
        """Set to publish no more: the run is then told as far as it went."""
        self.connecting_seconds = 0.0
        self.published = Published()
        self.ledger = Ledger(plan.events, 1)
        self.lag = Latencies()
        self.cpu_share = 0.0
        self._channels: list[str] = []
        self._transport = transport
        self._publish_url = publish_url
        self._tls = plan.address.tls()
        self._memory: dict[bytes, Sequence[Item]] = {}

    async def run(self) -> None:
        """Raises `CannotRun` before there is anything to report, and `Lost`."""
        lag = asyncio.create_task(self._watch_lag())
        try:
            await self._try_the_way()
            await self._connect()
            self._assign()
            await self._publish()
            await self._settle()
        finally:
            lag.cancel()
            for stream, _ in self.open:
                stream.ended = lambda: None
                stream.close()
            await self._transport.close()
            with contextlib.suppress(asyncio.CancelledError):
                await lag

    # Trying the way

    async def _try_the_way(self) -> None:
        subscriber, arrived = self.plan.subscribers[0], asyncio.Event()
        began = now()
        try:
            stream = await self._open(subscriber)
        except NotOpened as error:
            raise CannotRun(advice.not_opened(error, self.plan.address.base)) from None
        self.connecting_seconds = now() - began
        stream.take = lambda items, _: arrived.set() if any(_is_probe(item) for item in items) else None
        channel = self.plan.channel(subscriber.user)
        try:
            async with asyncio.timeout(POST_WITHIN):
                await self._transport.send(channel, self.plan.event(PROBE), f"{self.plan.run}-probe")
        except TimeoutError:
            raise CannotRun(f"{self._publish_url} did not answer the first event within {POST_WITHIN:g} s") from None
        except GatewayError as error:
            raise CannotRun(advice.not_published(error, self._publish_url, channel)) from None
        try:
            async with asyncio.timeout(PROBE_WITHIN):
                await arrived.wait()
        except TimeoutError:
            raise Lost(
                f"the first event was accepted, and did not arrive within {PROBE_WITHIN:g} s: do --url and "
                "--publish-url lead to the same gateways, and does no proxy between hold streams back?"
            ) from None

    # Streams

    async def _open(self, subscriber: Subscriber) -> Stream:
        stream = Stream(self.plan.request(subscriber), self.plan.run, self._memory)
        await open_stream(stream, self.plan.address, self._tls)
        self.open.append((stream, subscriber))
        stream.ended = lambda: self._gone(stream)
        return stream

    def _gone(self, stream: Stream, inbox: Inbox | None = None) -> None:
        self.ended_early += 1
        if inbox is not None:
            inbox.open = False
        self.open = [pair for pair in self.open if pair[0] is not stream]

    async def _connect(self) -> None:
        began, waiting = now(), iter(self.plan.subscribers[1:])
        self.phase, self.done = "connecting", 1

        async def opener() -> None:
            for subscriber in waiting:
                try:
                    await self._open(subscriber)
                except NotOpened as error:
                    self.not_opened[str(error)] += 1
                self.done += 1

        async with asyncio.TaskGroup() as group:
            for _ in range(OPENING):
                group.create_task(opener())
        self.connecting_seconds += now() - began
        if not self.open:
            raise CannotRun(f"{self.plan.address.base}: all streams ended before the first event")

    def _assign(self) -> None:
        """Each stream its lane; from here on what arrives is accounted for."""
        by_user = self.plan.target is Target.USERS
        lane_of = {user: lane for lane, user in enumerate(dict.fromkeys(s.user for _, s in self.open))}
        lanes = len(lane_of) if by_user else 1
        self._channels = [self.plan.channel(user) for user in lane_of][:lanes]
        self.ledger = ledger = Ledger(self.plan.events, lanes)
        for stream, subscriber in self.open:
            inbox = ledger.inbox(lane_of[subscriber.user] if by_user else 0)
            stream.take = lambda items, at, inbox=inbox: ledger.take(inbox, items, at)  # type: ignore[misc]
            stream.ended = lambda stream=stream, inbox=inbox: self._gone(stream, inbox)  # type: ignore[misc]

    # Events

    async def _publish(self) -> None:
        self.phase, self.done, self.total = PUBLISHING, 0, self.plan.events
        slots, began, cpu = asyncio.Semaphore(IN_FLIGHT), now(), time.process_time()
        self.lag = Latencies()
        async with asyncio.TaskGroup() as group:
            for number in range(self.plan.events):
                while self._goes_on and (wait := began + number / self.plan.rate - now()) > 0:
                    await asyncio.sleep(min(wait, LOOKS_EVERY))
                await slots.acquire()
                if not self._goes_on:
                    break
                group.create_task(self._post(number)).add_done_callback(lambda _: slots.release())
        self.published.seconds = now() - began
        self.cpu_share = (time.process_time() - cpu) / self.published.seconds

    @property
    def _goes_on(self) -> bool:
        return bool(self.open) and not self.stopped

    async def _post(self, number: int) -> None:
        event, channel = self.plan.event(number), self._channels[number % len(self._channels)]
        sent = now()
        self.ledger.sent(number, sent)
        try:
            async with asyncio.timeout(POST_WITHIN):
                await self._transport.send(channel, event, f"{self.plan.run}-{number}")
        except TimeoutError:
            self.published.unanswered += 1
            self.not_published[f"no answer within {POST_WITHIN:g} s"] += 1
        except BrokerUnavailable as error:
            self.published.unanswered += 1
            self.not_published[str(error)] += 1
        except GatewayError as error:
            self.published.refused += 1
            self.not_published[f"{error.status} {error}"] += 1
        else:
            answered = now()
            self.ledger.accept(number, answered)
            self.published.latencies.add(answered - sent)
        self.done += 1

    async def _settle(self) -> None:
        """Until all that is due has come and doubles had their time, or nothing comes any more."""
        self.phase, quiet_since = "settling", now()
        while self.ledger.missing() and now() - max(quiet_since, self.ledger.last_delivery) < SETTLED_AFTER:
            await asyncio.sleep(LAG_EVERY)
        await asyncio.sleep(DOUBLES_WITHIN)

    async def _watch_lag(self) -> None:
        while True:
            began = now()
            await asyncio.sleep(LAG_EVERY)
            self.lag.add(now() - began - LAG_EVERY)


def _is_probe(item: Item) -> bool:
    return isinstance(item, Tick) and item.number == PROBE
