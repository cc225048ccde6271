"""The port's adapter over the simulated server: the rules are those of the real link.

A channel is confirmed when the reply to the last command about it came back; after a loss, a new connection asks
for all channels and is up when all were confirmed. A probe a second brings the journal's tip along the same wire.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import TypeVar

from model.server import Server
from model.wire import Command, Delays, Session, Weather, hanging

from gateway.broker.base import BrokerStats, Listener, Page, Publication, Receipt, Touched
from gateway.errors import BrokerUnavailable
from gateway.events import Entry
from gateway.ids import EventId

PROBE_EVERY = 1.0
READ_TIMEOUT = 1.5
FRUITLESS_AT_MOST = 20

T = TypeVar("T")


class WiredBroker:
    """The port's adapter. `heard` is told of every message before the listener is."""

    def __init__(
        self,
        server: Server,
        weather: Sequence[Weather],
        delays: Delays,
        retention: bool,
        heard: Callable[[Entry], None],
    ) -> None:
        self.retention = retention
        self.stats = BrokerStats()
        self.fruitless: deque[float] = deque(maxlen=FRUITLESS_AT_MOST)
        self.session: Session | None = None
        self._server = server
        self._weather = weather
        self._delays = delays
        self._heard = heard
        self._listener: Listener | None = None
        self._desired: dict[str, None] = {}
        self._asked: dict[str, None] = {}
        self._outstanding: Counter[str] = Counter()
        self._confirmed: set[str] = set()
        self._waiters: dict[str, asyncio.Future[None]] = {}
        self._flush_scheduled = False
        self._up = False
        self._owner: asyncio.Task[None] | None = None

    async def start(self, listener: Listener) -> None:
        self._listener = listener
        self._owner = asyncio.create_task(self._own(), name="link")

    async def close(self) -> None:
        if self._owner is not None:
            self._owner.cancel()
            await asyncio.gather(self._owner, return_exceptions=True)
        for waiter in self._waiters.values():
            waiter.cancel()

    def warnings(self) -> list[str]:
        return []

    def health(self) -> str | None:
        return None if self._up else "the link is down"

    def failed(self) -> str | None:
        return None

    def now_ms(self) -> float | None:
        return None

    async def publish(self, items: Sequence[Publication]) -> list[Receipt]:
        raise NotImplementedError("publishers here go to the server")

    # Subscriptions

    async def subscribe(self, channel: str) -> None:
        self._desired[channel] = None
        if channel in self._confirmed and not self._outstanding[channel]:
            return
        waiter = self._waiters.get(channel)
        if waiter is None:
            waiter = self._waiters[channel] = asyncio.get_running_loop().create_future()
        self._flush_soon()
        await asyncio.shield(waiter)

    def unsubscribe(self, channel: str) -> None:
        self._desired.pop(channel, None)
        if (waiter := self._waiters.pop(channel, None)) is not None:
            waiter.cancel()
        self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._flush_scheduled:
            self._flush_scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_scheduled = False
        if self.session is None:
            return
        for channel in [wanted for wanted in self._desired if wanted not in self._asked]:
            self._command(Command("subscribe", channel))
        for channel in [asked for asked in self._asked if asked not in self._desired]:
            self._command(Command("unsubscribe", channel))
        self._asked = dict(self._desired)

    def _command(self, command: Command) -> None:
        assert self.session is not None
        self._outstanding[command.channel] += 1
        self.session.commands.send(command)

    def _replied(self, command: Command) -> None:
        assert self._listener is not None
        if command.name == "ping":
            self._up = True
            self._listener.link_restored()
            return
        channel = command.channel
        self._outstanding[channel] -= 1
        if self._outstanding[channel] > 0:
            return
        del self._outstanding[channel]
        if command.name == "unsubscribe":
            self._confirmed.discard(channel)
            return
        self._confirmed.add(channel)
        if (waiter := self._waiters.pop(channel, None)) is not None and not waiter.done():
            waiter.set_result(None)

    def _pushed(self, item: Command | Entry | EventId) -> None:
        assert self._listener is not None
        if isinstance(item, Command):
            self._replied(item)
        elif isinstance(item, Entry):
            self._heard(item)
            self._listener.announce(item)
        else:
            self._listener.watermark(item)

    # The owner of the link

    async def _own(self) -> None:
        while True:
            if self._reachable():
                await self._live_session()
            await asyncio.sleep(0.05 + self._delays.of("reconnect") * 10)

    def _reachable(self) -> bool:
        now = asyncio.get_running_loop().time()
        return all(weather.down_until <= now and weather.hanging_until <= now for weather in self._weather)

    async def _live_session(self) -> None:
        assert self._listener is not None
        self.session = session = Session(self._server, self._weather, self._delays, self._pushed)
        probing = asyncio.create_task(self._probe(session), name="probe")
        try:
            self._flush()
            session.commands.send(Command("ping"))
            await session.lost
        finally:
            probing.cancel()
            session.die(0)
            self.session, self._up = None, False
            self._asked.clear()
            self._outstanding.clear()
            self._confirmed.clear()
            self._listener.link_lost()

    async def _probe(self, session: Session) -> None:
        """Over another connection; what does not get through is only missed."""
        while True:
            await asyncio.sleep(PROBE_EVERY)
            try:
                await self._ask(lambda: session.push(self._server.tip()))
            except BrokerUnavailable:
                continue

    # Reads

    async def tip(self) -> EventId:
        return await self._ask(self._server.tip)

    async def read(self, channels: Sequence[str], after: EventId, limit: int) -> Page:
        page = await self._ask(lambda: self._server.read(channels, after, limit))
        if page.upto > after:
            self.fruitless.clear()
        else:
            self.fruitless.append(asyncio.get_running_loop().time())
        return page

    async def touched(self, after: EventId, limit: int) -> Touched:
        return await self._ask(lambda: self._server.touched(after, limit))

    async def _ask(self, question: Callable[[], T]) -> T:
        """The answer is of one moment; it may get lost on its way back, or come too late."""
        try:
            async with asyncio.timeout(READ_TIMEOUT):
                await self._travel()
                answer = question()
                await self._travel()
                return answer
        except TimeoutError:
            raise BrokerUnavailable("no answer in time") from None

    async def _travel(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._delays.of("read"))
        if (wait := hanging(self._weather)) > 0:
            await asyncio.sleep(wait)
        if any(weather.down_until > loop.time() for weather in self._weather):
            raise BrokerUnavailable("connection refused")
