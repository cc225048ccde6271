"""Joins hub and broker: channel interest and catch-up.

Catch-up is the one way forward for a connection that is not at the tip, whatever took it from there: take from
the tails what they cover, else read a page of history, write it as the socket drains, and again, until the hub
says it is live. What the whole process may have missed is the other half: `healing.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
from collections import Counter
from collections.abc import Awaitable, Callable

from .broker.base import Broker
from .distribution import Distribution
from .errors import BrokerUnavailable
from .healing import RETRY_READ_EVERY, Healing, until_available
from .hub import Advance, Cause, CloseReason, Connection, Hub, State, replayed
from .ids import START, EventId

POLL_SOCKET_EVERY = 0.05
LOOK_AT_SOCKET_EVERY = 1.0
DROPPED_PER_TURN = 100
CATCH_UP_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

Drained = Callable[[], Awaitable[None]]


class Outcome(enum.StrEnum):
    """How a catch-up ended; a label of `gateway_catch_ups_total`."""

    MEMORY = "memory"
    """Live, by what this process still had."""
    HISTORY = "history"
    """Live, after reading the broker's history."""
    GAP = "gap"
    """Live, and told that something may be lost."""
    ENDED = "ended"
    """The stream ended before."""


class Relay:
    """Guides connections to the tip. What it counts is read by metrics: `catch_ups`, and the seconds they took.

    linger        seconds a channel stays subscribed after its last connection left (reconnects are common)
    replay_page   entries read from history at a time
    send_timeout  seconds after which a client that takes nothing is dropped
    held_bytes    announcements held while the link is down; what is not held is read
    """

    def __init__(
        self,
        hub: Hub,
        broker: Broker,
        *,
        linger: float = 5,
        replay_page: int = 100,
        send_timeout: float = 60,
        held_bytes: int | None = None,
    ) -> None:
        self.hub = hub
        self.broker = broker
        self.healing = Healing(hub, broker, held_bytes)
        self.catch_ups: Counter[tuple[Cause, Outcome]] = Counter()
        self.catch_up_seconds = Distribution(*CATCH_UP_BUCKETS)
        self.history_reads = 0
        self._linger = linger
        self._replay_page = replay_page
        self._send_timeout = send_timeout
        self._lingering: dict[str, float] = {}  # until when, the next first
        self._sweep: asyncio.TimerHandle | None = None
        self._tip_read: asyncio.Task[EventId] | None = None
        self._next_tip: asyncio.Task[EventId] | None = None

    async def start(self) -> None:
        await self.broker.start(self.healing)

    async def close(self) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
        for task in (self._tip_read, self._next_tip):
            if task is not None:
                task.cancel()
        self.healing.close()
        await self.broker.close()

    def health(self) -> str | None:
        """Why this process may be missing events now, or None."""
        if (reason := self.broker.health()) is not None:
            return reason
        return "healing after a lost connection to the broker" if self.healing.under_way else None

    # A connection's way

    async def open(self, connection: Connection) -> None:
        """Register; returns when its channels are announced and its position is known.

        Waits as long as the broker is away. What is published meanwhile will be delivered to whoever brought a
        cursor; one without begins at the tip that is found in the end. It may be cancelled and called again;
        whoever called it calls `leave` at last.
        """
        self.hub.join(connection)
        for name in connection.channels:
            self._lingering.pop(name, None)
        for name in connection.channels:
            await self.broker.subscribe(name)
        if not self.broker.retention:
            connection.cursor = START
            self._announced_since(connection, START)
        elif connection.cursor is None:
            connection.cursor = await self._tip()
            self._announced_since(connection, connection.cursor)
        elif connection.cursor > self.hub.tip:  # not heard of here yet, or nowhere: the tails cannot tell
            tip = await self._tip()
            if connection.cursor > tip:
                connection.forget_cursor()

    def leave(self, connection: Connection) -> None:
        """Deregister; the last one to leave a channel lets its subscription linger."""
        for name in self.hub.leave(connection):
            self._lingering[name] = asyncio.get_running_loop().time() + self._linger
            if self._sweep is None:
                self._sweep = asyncio.get_running_loop().call_later(self._linger, self._drop_lingering)

    async def _tip(self) -> EventId:
        """The broker's tip, read after this was called. Whoever waits for a reading to begin shares it."""
        if self._next_tip is None or self._next_tip.done():
            self._next_tip = asyncio.create_task(self._read_tip(), name="tip")
        return await asyncio.shield(self._next_tip)

    async def _read_tip(self) -> EventId:
        if self._tip_read is not None:  # one is under way, begun before those who share this one were ready
            await asyncio.wait({self._tip_read})
        self._tip_read, self._next_tip = asyncio.current_task(), None
        return await until_available(self.broker.tip)

    def is_live(self, connection: Connection) -> bool:
        """Whether it is at the tip, or could be brought there at once."""
        if connection.close_reason is not None or self.hub.advance(connection) is not Advance.LIVE:
            return False
        self._count(connection, Outcome.MEMORY, 0)
        return True

    async def catch_up(self, connection: Connection, drained: Drained) -> None:
        """Bring the connection to the tip; returns when it is live, or was closed.

        `drained` waits until what is buffered for it is below the low-water mark; it is cancelled when that takes long.
        """
        if connection.close_reason is not None:
            return
        clock, outcome = asyncio.get_running_loop().time, Outcome.ENDED
        began = clock()
        try:
            outcome = await self._brought_to_the_tip(connection, drained)
        finally:
            self._count(connection, outcome, clock() - began)

    async def _brought_to_the_tip(self, connection: Connection, drained: Drained) -> Outcome:
        told: EventId | None = None  # a gap, for whatever was lost up to here
        outcome = Outcome.MEMORY
        if connection.state is State.BEHIND and not self.broker.retention:
            connection.close(CloseReason.SLOW)
        while connection.close_reason is None:
            needed = self.hub.advance(connection)
            if needed is Advance.FULL:
                await self._drained(connection, drained)
            elif needed is Advance.NEEDS_HISTORY:
                outcome = Outcome.HISTORY
                told = await self._replay_a_page(connection, drained, told)
            elif told is None:
                return outcome
            else:
                connection.put_position()
                return Outcome.GAP
        return Outcome.ENDED

    def _count(self, connection: Connection, outcome: Outcome, seconds: float) -> None:
        self.catch_ups[connection.cause, outcome] += 1
        if outcome is not Outcome.ENDED:
            self.catch_up_seconds.observe(seconds)

    async def _replay_a_page(self, connection: Connection, drained: Drained, told: EventId | None) -> EventId | None:
        cursor = connection.cursor
        assert cursor is not None
        try:
            if await self._nothing_in_the_others(connection, cursor):
                return told
            self.history_reads += 1
            page = await self.broker.read(connection.channels, cursor, self._replay_page)
        except BrokerUnavailable:
            await asyncio.sleep(RETRY_READ_EVERY)
            return told
        self._announced_since(connection, page.tip)
        if page.upto < cursor:  # outside the broker's horizon: as good as none
            connection.forget_cursor()
            return told
        if connection.unknown is not None or (page.lost and (told is None or page.upto > told)):
            self.hub.tell_gap(connection, connection.unknown or str(cursor), page.oldest)
            told = page.upto
        if self.hub.give(connection, [replayed(entry) for entry in page.entries]):
            connection.cursor = page.upto
        else:
            # The rest of the page is not kept while a slow client drains: it is read again from where it stands.
            await self._drained(connection, drained)
        if connection.cursor != START:  # else it has not begun: the next page may lack more than this gap told of
            connection.unknown = None
        if page.upto == cursor and not self.hub.covers(connection):
            # The tails begin after the tip: the broker's ids went back. Healing will see to it.
            await asyncio.sleep(RETRY_READ_EVERY)
        return told

    async def _nothing_in_the_others(self, connection: Connection, cursor: EventId) -> bool:
        """Whether the tails will do, since channels without one that reaches back had nothing after the cursor.

        So it is for most who come back: the broadcast's tail is there, and nothing happened on their own channel. One
        short reading each, instead of a page of broadcasts.
        """
        lacking = [name for name in connection.channels if not self.hub.channels[name].covers(cursor)]
        if connection.unknown is not None or not 0 < len(lacking) < len(connection.channels):
            return False
        self.history_reads += 1
        page = await self.broker.read(lacking, cursor, 1)
        if page.entries or page.lost or page.upto != page.tip or connection.cursor != cursor:
            return False
        for name in lacking:  # what came after the reading is announced, and before it there was nothing
            self.hub.channels[name].announced_since(cursor)
        return self.hub.covers(connection)

    async def _drained(self, connection: Connection, drained: Drained) -> None:
        """Wait for room in the socket; give up on a client that takes nothing for the send timeout."""
        clock = asyncio.get_running_loop().time
        before = waiting = connection.buffered()
        moved_at = clock()
        while connection.close_reason is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_AT_SOCKET_EVERY):
                    await drained()
                    if connection.buffered() < before:
                        return
                    await asyncio.sleep(POLL_SOCKET_EVERY)
            if connection.buffered() < waiting:
                waiting, moved_at = connection.buffered(), clock()
            elif clock() - moved_at > self._send_timeout:
                connection.close(CloseReason.STALLED)

    def _announced_since(self, connection: Connection, tip: EventId) -> None:
        """`tip` was read after the channels were confirmed: whatever is newer is announced, or healed.

        The least of such tips will do; a greater one may be of events that a failover unmade, and never come again.
        """
        for name in connection.channels:
            self.hub.channels[name].announced_since(tip)

    def _drop_lingering(self) -> None:
        """Those whose time is over; after a storm of leavers a few at a time, so that nobody waits for all."""
        loop, self._sweep = asyncio.get_running_loop(), None
        for _ in range(DROPPED_PER_TURN):
            if not self._lingering:
                return
            name, until = next(iter(self._lingering.items()))
            if until > loop.time():
                break
            del self._lingering[name]
            if self.hub.drop(name):
                self.broker.unsubscribe(name)
        if self._lingering:
            first = next(iter(self._lingering.values()))
            self._sweep = loop.call_later(max(first - loop.time(), 0), self._drop_lingering)
