"""The pub/sub link: one owner task, one connection, a desired set of channels.

Other tasks only edit the desired set; the owner makes it so. A channel is *confirmed* when the server's reply to
the last command about it has been seen. The link is alive while it is heard: every second a PING on it, and a
probe published by another connection to a channel of this process's own, which must come back on this one. So a
server that answers but no longer delivers is noticed too. Now and then the server is asked how many channels it
holds for this connection. After a loss: a new connection, all channels again, then `link_restored`, and what was
missed is read.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple, Protocol

import structlog

from ...channels import Keys
from ...errors import GatewayError, InvalidRequest
from ...ids import EventId
from ..base import BrokerStats, Listener
from .clock import ServerClock
from .connect import Address, Route
from .envelope import announced
from .examine import explained
from .wire import Wire

PROBE_EVERY = 1.0
SILENCE_LIMIT = 2.5
WATCH_EVERY = 0.25
ECHO_LIMIT = SILENCE_LIMIT + 2 * WATCH_EVERY  # so that silence is called silence
COMPARE_EVERY = 10  # seconds; in as many probes
EXAMINE_EVERY = 60
MISMATCHES = 2  # in a row: one may be a channel that was on its way
RETRY_AT_MOST = 0.5
CHANNELS_PER_COMMAND = 1000
_ALL_ASKED = b"all asked"


class Words(NamedTuple):
    """Pub/sub as the protocol says it. Sharded is that of a cluster, where a channel belongs to its slot's node, which
    says `unsubscribed` unasked when the slot goes elsewhere."""

    subscribe: str
    unsubscribe: str
    message: bytes
    subscribed: bytes
    unsubscribed: bytes


PLAIN = Words("SUBSCRIBE", "UNSUBSCRIBE", b"message", b"subscribe", b"unsubscribe")
SHARDED = Words("SSUBSCRIBE", "SUNSUBSCRIBE", b"smessage", b"ssubscribe", b"sunsubscribe")
CLOSED = "closed"

log = structlog.get_logger(__name__)


class Commands(Protocol):
    """What the link asks for over another connection. A failure is for the link to survive."""

    async def examine(self) -> None:
        """Raise `OSError` when the server is none to work with."""
        ...

    async def probe(self, channel: str, number: int) -> None:
        """Publish on a pub/sub channel: the journal's tip, the number, and the server's time in seconds."""
        ...

    async def subscriptions(self, client_id: int) -> int:
        """How many channels the server holds for a connection."""
        ...

    async def distrust(self) -> None:
        """The link was lost: connections that idled through it are not to be used again."""
        ...


class Link:
    """What it meets with it counts in `stats`."""

    def __init__(
        self,
        route: Route,
        keys: Keys,
        instance: str,
        commands: Commands,
        stats: BrokerStats,
        *,
        sharded: bool = False,
    ) -> None:
        self._route = route
        self._words = SHARDED if sharded else PLAIN
        self._address: Address | None = None
        self._probe_channel = keys.probe(instance)
        self._prefix = keys.pubsub("")
        self._pubsub = keys.pubsub
        self._commands = commands
        self._listener: Listener | None = None
        self._desired: set[str] = set()
        self._asked: set[str] = set()
        self._changed: set[str] = set()  # since the last flush; what is not in it is as it was asked for
        self._outstanding: Counter[str] = Counter()
        self._confirmed: set[str] = set()
        self._waiters: dict[str, asyncio.Future[None]] = {}
        self._flush_scheduled = False
        self._wire: Wire | None = None
        self._task: asyncio.Task[None] | None = None
        self._echoed_at = 0.0
        self._numbers = itertools.count(1)  # of probes
        self._probed_at: dict[int, float] = {}  # by number, those that did not come back yet
        self._clock = ServerClock()
        self._down_because: str | None = "not started"
        self.stats = stats

    def start(self, listener: Listener) -> None:
        self._listener = listener
        self._down_because = "not connected yet"
        self._task = asyncio.create_task(self._own(), name="redis-link")

    async def close(self) -> None:
        self._down_because = CLOSED
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for waiter in self._waiters.values():
            waiter.cancel()

    def health(self) -> str | None:
        return self.failed() or self._down_because

    def failed(self) -> str | None:
        """Why it will never be up again, or None."""
        ended = self._task is not None and self._task.done() and self._down_because != CLOSED
        return "the link's task has ended" if ended else None

    def server_ms(self) -> float | None:
        """The server's clock now, in milliseconds since 1970; None while it is not known."""
        seconds = self._clock.at(asyncio.get_running_loop().time())
        return None if seconds is None else seconds * 1000

    async def subscribe(self, channel: str) -> None:
        self._want(channel)
        if channel in self._confirmed and not self._outstanding[channel]:
            return
        waiter = self._waiters.get(channel)
        if waiter is None:
            waiter = self._waiters[channel] = asyncio.get_running_loop().create_future()
        await asyncio.shield(waiter)

    def unsubscribe(self, channel: str) -> None:
        self._desired.discard(channel)
        if (waiter := self._waiters.pop(channel, None)) is not None:
            waiter.cancel()
        self._flush_soon(channel)

    def subscriptions(self) -> frozenset[str]:
        """The channels that the server confirmed."""
        return frozenset(self._confirmed)

    # The desired set

    def _want(self, channel: str) -> None:
        if channel not in self._desired:
            self._desired.add(channel)
            self._flush_soon(channel)

    def _flush_soon(self, channel: str) -> None:
        self._changed.add(channel)
        if not self._flush_scheduled:
            self._flush_scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        """Tell the server the difference between what is wanted and what it was asked for."""
        self._flush_scheduled = False
        if self._wire is None:
            return
        changed, self._changed = self._changed, set()
        wanted = changed & self._desired
        self._command(self._words.subscribe, wanted - self._asked)
        self._command(self._words.unsubscribe, changed - wanted & self._asked)
        self._asked |= wanted
        self._asked -= changed - wanted

    def _command(self, name: str, channels: Iterable[str]) -> None:
        assert self._wire is not None
        listed = list(channels)
        for start in range(0, len(listed), CHANNELS_PER_COMMAND):
            some = listed[start : start + CHANNELS_PER_COMMAND]
            self._outstanding.update(some)
            self._wire.send(name, *map(self._pubsub, some))

    # What the server says

    def _push(self, reply: list[bytes]) -> None:
        kind, words = reply[0], self._words
        if kind == words.message:
            self._message(reply[1].decode("utf-8", "replace"), reply[2])
        elif kind in (words.subscribed, words.unsubscribed):
            self._answered(kind, reply[1].decode())
        elif kind == b"pong" and reply[1] == _ALL_ASKED:
            self._up()

    def _message(self, name: str, payload: bytes) -> None:
        assert self._listener is not None
        try:
            if name == self._probe_channel:
                self._echoed(payload.decode("ascii", "replace"))
            else:
                self._listener.announce(announced(name.removeprefix(self._prefix), payload))
        except GatewayError as error:
            self.stats.garbage += 1
            if self.stats.garbage.bit_count() == 1:  # the 1st, 2nd, 4th, 8th, …: once in a while, however many come
                log.warning("broker.garbage_skipped", error=str(error), so_far=self.stats.garbage)

    def _echoed(self, payload: str) -> None:
        """A probe came back. Anybody may write on its channel: what is none is garbage."""
        assert self._listener is not None
        try:
            tip, number, server = payload.split(" ")
            sent_at, server_seconds = self._probed_at.pop(int(number), None), float(server)
        except ValueError:
            raise InvalidRequest("not a probe of this process") from None
        watermark = EventId.parse(tip)
        now = self._echoed_at = asyncio.get_running_loop().time()
        if sent_at is not None:  # else it was under way when the link before this one was lost
            self.stats.probe.observe(now - sent_at)
            self._clock.stamped(sent_at, now, server_seconds)
        self._listener.watermark(watermark)

    def _answered(self, kind: bytes, name: str) -> None:
        channel = name.removeprefix(self._prefix)
        if kind == self._words.unsubscribed and not self._outstanding[channel]:
            if self._wire is not None:
                self._wire.end("the slot went to another node")
            return
        if name == self._probe_channel:
            return
        self._outstanding[channel] -= 1
        if self._outstanding[channel] > 0:
            return  # a later command about this channel is still under way, and decides
        del self._outstanding[channel]
        if kind == self._words.unsubscribed:
            self._confirmed.discard(channel)
            return
        self._confirmed.add(channel)
        if (waiter := self._waiters.pop(channel, None)) is not None and not waiter.done():
            waiter.set_result(None)

    # The owner

    async def _own(self) -> None:
        attempt = 0
        while True:
            try:
                reason = await self._session()
                attempt = 0 if self._down_because is None else attempt + 1
            except (OSError, TimeoutError) as error:
                reason = self._cannot_connect(error)
                attempt += 1
            except Exception as error:  # an owner that dies leaves the process deaf
                log.exception("broker.link_failed")
                reason = repr(error)
            self._down(reason, attempt)
            self._route.doubt()
            await self._commands.distrust()
            await asyncio.sleep(random.uniform(0.5, 1) * min(RETRY_AT_MOST, 0.05 * 2 ** min(attempt, 10)))

    async def _session(self) -> str:
        """From connecting to the reason why the connection is not to be used any more."""
        assert self._listener is not None
        self._address = None
        address = self._address = await self._route.find()
        wire = await Wire.connect(address, self._push, elected=self._route.elected)
        asking = asyncio.create_task(self._ask(wire), name="redis-probe")
        try:
            await self._commands.examine()
            self._wire = wire
            wire.send(self._words.subscribe, self._probe_channel)
            self._changed = set(self._desired)
            self._flush()
            wire.send("PING", _ALL_ASKED)  # answered after the confirmations of all that was asked before it
            return await self._watch(wire)
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            self._wire = None
            self._asked.clear()
            self._outstanding.clear()
            self._confirmed.clear()
            self._probed_at.clear()
            self._clock.begin_anew()
            wire.close()
            self._listener.link_lost()

    async def _watch(self, wire: Wire) -> str:
        clock = asyncio.get_running_loop().time
        ticked = self._echoed_at = clock()
        while not wire.lost.done():
            await asyncio.wait({wire.lost}, timeout=WATCH_EVERY)
            now = clock()
            if now - ticked > SILENCE_LIMIT / 2:  # this process itself stood still; the server is not to blame
                wire.heard_at = self._echoed_at = now
            ticked = now
            if now - wire.heard_at > SILENCE_LIMIT:
                return f"nothing heard from {self._address} for {SILENCE_LIMIT} s"
            if now - self._echoed_at > ECHO_LIMIT:
                return f"{self._address} answers, but a probe was not delivered for {ECHO_LIMIT} s"
        return wire.lost.result()

    async def _ask(self, wire: Wire) -> None:
        """Ask for signs of life; `_watch` sees whether they come."""
        clock, mismatches = asyncio.get_running_loop().time, 0
        for second in itertools.count(1):
            await asyncio.sleep(PROBE_EVERY)
            wire.send("PING")
            number = next(self._numbers)
            self._probed_at[number] = clock()
            with contextlib.suppress(Exception):  # what did not get out does not come back: its absence tells
                await self._commands.probe(self._probe_channel, number)
                if second % COMPARE_EVERY == 0:
                    mismatches = mismatches + 1 if await self._mismatch(wire) else 0
                if second % EXAMINE_EVERY == 0:
                    await self._commands.examine()
            if mismatches == MISMATCHES:
                wire.end(f"{self._address} does not hold the subscriptions that it confirmed")

    async def _mismatch(self, wire: Wire) -> bool:
        """Whether the server holds another number of channels than was asked for, with nothing under way."""
        wanted = len(self._asked) + 1  # and the probe's
        held = await self._commands.subscriptions(wire.client_id)
        return held != wanted == len(self._asked) + 1 and not self._outstanding

    def _cannot_connect(self, error: Exception) -> str:
        if self._address is None:
            return explained(error)
        return f"cannot connect to {self._address}: {explained(error, tls=self._address.tls is not None)}"

    def _up(self) -> None:
        assert self._listener is not None
        self._down_because = None
        log.info("broker.link_up", address=str(self._address), channels=len(self._asked))
        self._listener.link_restored()

    def _down(self, reason: str, attempt: int) -> None:
        was_up, self._down_because = self._down_because is None, reason
        if was_up:
            self.stats.reconnects += 1
            log.warning("broker.link_lost", reason=reason)
        elif attempt.bit_count() == 1:  # the 1st, 2nd, 4th, 8th, … in a row
            log.warning("broker.link_down", reason=reason, attempt=attempt)
