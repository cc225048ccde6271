"""The pub/sub link: one owner task, one connection, a desired set of channels.

Other tasks only edit the desired set; the owner makes it so. A channel is *confirmed* when the server's reply to
the last command about it has been seen. The link is alive while it is heard: every second a PING on it, and a
probe published by another connection to a channel of this process's own, which must come back on this one. So a
server that answers but no longer delivers is noticed too. After a loss: a new connection, all channels again,
then `link_restored`, and the relay reads what was missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable

import structlog

from ...channels import Keys
from ...errors import GatewayError
from ...ids import EventId
from ..base import Listener
from .connect import Address
from .envelope import announced
from .wire import Wire

PROBE_EVERY = 1.0
SILENCE_LIMIT = 2.5
WATCH_EVERY = 0.25
RETRY_AT_MOST = 0.5
CHANNELS_PER_COMMAND = 1000
_ALL_ASKED = b"all asked"

log = structlog.get_logger(__name__)


class Link:
    """`probe` publishes on the given channel over another connection; its failure is for the link to survive."""

    def __init__(self, address: Address, keys: Keys, instance: str, probe: Callable[[str], Awaitable[object]]) -> None:
        self._address = address
        self._probe_channel = keys.probe(instance)
        self._prefix = keys.pubsub("")
        self._pubsub = keys.pubsub
        self._probe = probe
        self._listener: Listener | None = None
        self._desired: set[str] = set()
        self._asked: set[str] = set()
        self._outstanding: Counter[str] = Counter()
        self._confirmed: set[str] = set()
        self._waiters: dict[str, asyncio.Future[None]] = {}
        self._flush_scheduled = False
        self._wire: Wire | None = None
        self._task: asyncio.Task[None] | None = None
        self._echoed_at = 0.0
        self._down_because: str | None = "not started"
        self.garbage = 0
        self.reconnects = 0

    def start(self, listener: Listener) -> None:
        self._listener = listener
        self._down_because = "not connected yet"
        self._task = asyncio.create_task(self._own(), name="redis-link")

    async def close(self) -> None:
        self._down_because = "closed"
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for waiter in self._waiters.values():
            waiter.cancel()

    def health(self) -> str | None:
        if self._task is not None and self._task.done():
            return "the link's task has ended"
        return self._down_because

    async def subscribe(self, channel: str) -> None:
        self._desired.add(channel)
        if channel in self._confirmed and not self._outstanding[channel]:
            return
        waiter = self._waiters.get(channel)
        if waiter is None:
            waiter = self._waiters[channel] = asyncio.get_running_loop().create_future()
        self._flush_soon()
        await asyncio.shield(waiter)

    def unsubscribe(self, channel: str) -> None:
        self._desired.discard(channel)
        if (waiter := self._waiters.pop(channel, None)) is not None:
            waiter.cancel()
        self._flush_soon()

    def subscriptions(self) -> frozenset[str]:
        """The channels that the server confirmed."""
        return frozenset(self._confirmed)

    # The desired set

    def _flush_soon(self) -> None:
        if not self._flush_scheduled:
            self._flush_scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        """Tell the server the difference between what is wanted and what it was asked for."""
        self._flush_scheduled = False
        if self._wire is None:
            return
        self._command("SUBSCRIBE", self._desired - self._asked)
        self._command("UNSUBSCRIBE", self._asked - self._desired)
        self._asked = set(self._desired)

    def _command(self, name: str, channels: Iterable[str]) -> None:
        assert self._wire is not None
        listed = list(channels)
        for start in range(0, len(listed), CHANNELS_PER_COMMAND):
            some = listed[start : start + CHANNELS_PER_COMMAND]
            self._outstanding.update(some)
            self._wire.send(name, *map(self._pubsub, some))

    # What the server says

    def _push(self, reply: list[bytes]) -> None:
        kind = reply[0]
        if kind == b"message":
            self._message(reply[1].decode("utf-8", "replace"), reply[2])
        elif kind in (b"subscribe", b"unsubscribe"):
            self._answered(kind, reply[1].decode())
        elif kind == b"pong" and reply[1] == _ALL_ASKED:
            self._up()

    def _message(self, name: str, payload: bytes) -> None:
        assert self._listener is not None
        try:
            if name == self._probe_channel:
                self._echoed_at = asyncio.get_running_loop().time()
                self._listener.watermark(EventId.parse(payload.decode("ascii", "replace")))
            else:
                self._listener.announce(announced(name.removeprefix(self._prefix), payload))
        except GatewayError as error:
            self.garbage += 1
            if self.garbage.bit_count() == 1:  # the 1st, 2nd, 4th, 8th, …: once in a while, however many come
                log.warning("broker.garbage_skipped", error=str(error), so_far=self.garbage)

    def _answered(self, kind: bytes, name: str) -> None:
        if name == self._probe_channel:
            return
        channel = name.removeprefix(self._prefix)
        self._outstanding[channel] -= 1
        if self._outstanding[channel] > 0:
            return  # a later command about this channel is still under way, and decides
        del self._outstanding[channel]
        if kind == b"unsubscribe":
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
                attempt = 0
            except (OSError, TimeoutError) as error:
                reason = f"cannot connect to {self._address}: {error or type(error).__name__}"
                attempt += 1
            self._down(reason)
            if attempt.bit_count() == 1:
                log.warning("broker.link_down", reason=reason, attempt=attempt)
            await asyncio.sleep(random.uniform(0.5, 1) * min(RETRY_AT_MOST, 0.05 * 2 ** min(attempt, 10)))

    async def _session(self) -> str:
        """From connecting to the reason why the connection is not to be used any more."""
        wire = await Wire.connect(self._address, self._push)
        probing: set[asyncio.Task[None]] = set()
        try:
            self._wire = wire
            wire.send("SUBSCRIBE", self._probe_channel)
            self._flush()
            wire.send("PING", _ALL_ASKED)  # answered after the confirmations of all that was asked before it
            return await self._watch(wire, probing)
        finally:
            self._wire = None
            self._asked.clear()
            self._outstanding.clear()
            self._confirmed.clear()
            wire.close()
            for task in probing:
                task.cancel()

    async def _watch(self, wire: Wire, probing: set[asyncio.Task[None]]) -> str:
        clock = asyncio.get_running_loop().time
        ticked = probed = self._echoed_at = clock()
        while not wire.lost.done():
            await asyncio.wait({wire.lost}, timeout=WATCH_EVERY)
            now = clock()
            if now - ticked > SILENCE_LIMIT / 2:  # this process itself stood still; the server is not to blame
                wire.heard_at = self._echoed_at = now
            ticked = now
            if now - wire.heard_at > SILENCE_LIMIT:
                return f"nothing heard from {self._address} for {SILENCE_LIMIT} s"
            if now - self._echoed_at > SILENCE_LIMIT:
                return f"{self._address} answers, but a probe was not delivered for {SILENCE_LIMIT} s"
            if now - probed >= PROBE_EVERY and not probing:
                probed = now
                wire.send("PING")
                task = asyncio.create_task(self._send_probe())
                probing.add(task)
                task.add_done_callback(probing.discard)
        return wire.lost.result()

    async def _send_probe(self) -> None:
        with contextlib.suppress(Exception):  # it did not get out, so it does not come back: the echo's absence tells
            await self._probe(self._probe_channel)

    def _up(self) -> None:
        assert self._listener is not None
        self._down_because = None
        log.info("broker.link_up", address=str(self._address), channels=len(self._asked))
        self._listener.link_restored()

    def _down(self, reason: str) -> None:
        assert self._listener is not None
        was_up, self._down_because = self._down_because is None, reason
        if was_up:
            self.reconnects += 1
            log.warning("broker.link_lost", reason=reason)
            self._listener.link_lost(reason)
