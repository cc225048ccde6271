"""Joins hub and broker: channel interest, catch-up, healing.

Catch-up is the one way forward for a connection that is not at the tip, whatever took it from there: take from
the tails what they cover, else read a page of history, write it as the socket drains, and again, until the hub
says it is live. Healing is the same idea for the whole process: after the link was lost, announcements are held
while the journal tells which channels were touched; what was missed goes through the same dispatch, in id order,
then what was held.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from .broker.base import Broker, Page
from .errors import BrokerUnavailable
from .events import Entry
from .frames import control_frame, cursor_frame
from .hub import Advance, CloseReason, Connection, Frame, Hub, State
from .ids import START, EventId

HELD_AT_MOST = 20_000
HEAL_PAGE = 500
RETRY_READ_EVERY = 0.25
POLL_SOCKET_EVERY = 0.05

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Relay:
    """The broker's listener, and the connections' guide.

    linger        seconds a channel stays subscribed after its last connection left (reconnects are common)
    replay_page   entries read from history at a time
    send_timeout  seconds after which a client that takes nothing is dropped
    """

    def __init__(
        self, hub: Hub, broker: Broker, *, linger: float = 5, replay_page: int = 100, send_timeout: float = 60
    ) -> None:
        self.hub = hub
        self.broker = broker
        self.heals = 0
        self.gaps_told = 0
        self._linger = linger
        self._replay_page = replay_page
        self._send_timeout = send_timeout
        self._held: deque[Entry | EventId] | None = None
        self._held_overflowed = False
        self._linked_before = False
        self._healing: asyncio.Task[None] | None = None
        self._lingering: dict[str, asyncio.TimerHandle] = {}

    async def start(self) -> None:
        await self.broker.start(self)

    async def close(self) -> None:
        for handle in self._lingering.values():
            handle.cancel()
        self._stop_healing()
        await self.broker.close()

    def health(self) -> str | None:
        """Why this process may be missing events now, or None."""
        if (reason := self.broker.health()) is not None:
            return reason
        return "healing after a lost connection to the broker" if self._held is not None else None

    # A connection's way

    async def open(self, connection: Connection) -> None:
        """Register; returns when its channels are announced and its position is known.

        Waits as long as the broker is away: what is published meanwhile will be delivered. It may be cancelled and
        called again; whoever called it calls `leave` in the end.
        """
        self.hub.join(connection)
        for name in connection.channels:
            if (handle := self._lingering.pop(name, None)) is not None:
                handle.cancel()
        for name in connection.channels:
            await self.broker.subscribe(name)
        if not self.broker.retention:
            connection.cursor = START
            self._announced_since(connection, START)
        elif connection.cursor is None:
            connection.cursor = await self._until_available(self.broker.tip)
            self._announced_since(connection, connection.cursor)

    def leave(self, connection: Connection) -> None:
        """Deregister; the last one to leave a channel lets its subscription linger."""
        for name in self.hub.leave(connection):
            self._lingering[name] = asyncio.get_running_loop().call_later(self._linger, self._drop, name)

    async def serve(self, connection: Connection) -> CloseReason:
        """Bring the connection to the tip, and again whenever it fell behind. Returns why it was closed."""
        told_gap = False
        if connection.unknown is not None and self.broker.retention:
            self._tell_gap(connection, connection.unknown, None)
            told_gap = True
        while connection.close_reason is None:
            outcome = self.hub.advance(connection)
            if outcome is Advance.FULL:
                await self._drained(connection)
            elif outcome is Advance.NEEDS_HISTORY:
                told_gap = await self._replay_a_page(connection, told_gap)
            else:
                if told_gap and connection.cursor is not None:
                    connection.put(cursor_frame(connection.cursor))
                    told_gap = False
                await connection.wake.wait()
                connection.wake.clear()
                if connection.state is State.BEHIND and not self.broker.retention:
                    connection.close(CloseReason.SLOW)
        return connection.close_reason

    async def _replay_a_page(self, connection: Connection, told_gap: bool) -> bool:
        assert connection.cursor is not None
        page = await self._until_available(
            lambda: self.broker.read(connection.channels, connection.cursor or START, self._replay_page)
        )
        self._announced_since(connection, page.tip)
        if page.lost and not told_gap:
            self._tell_gap(connection, str(connection.cursor), page.oldest)
        frames = [Frame(entry) for entry in page.entries]
        connection.cursor = min(connection.cursor, page.upto)  # one outside the horizon begins anew
        while not self.hub.give(connection, frames) and connection.close_reason is None:
            await self._drained(connection)
        if connection.close_reason is None:
            connection.cursor = page.upto
        return told_gap or bool(page.lost)

    def _tell_gap(self, connection: Connection, requested: str, oldest: EventId | None) -> None:
        self.gaps_told += 1
        told = {"requested": requested, "oldest": str(oldest) if oldest else None}
        connection.put(control_frame("gateway.gap", told))

    async def _drained(self, connection: Connection) -> None:
        """Wait for room in the socket; give up on a client that takes nothing for the send timeout."""
        waiting = connection.buffered()
        try:
            async with asyncio.timeout(self._send_timeout):
                await connection.drained()
                while connection.buffered() >= waiting:
                    await asyncio.sleep(POLL_SOCKET_EVERY)
        except TimeoutError:
            if connection.buffered() >= waiting:
                connection.close(CloseReason.STALLED)

    async def _until_available(self, read: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await read()
            except BrokerUnavailable:
                await asyncio.sleep(RETRY_READ_EVERY)

    def _announced_since(self, connection: Connection, tip: EventId) -> None:
        """`tip` was read after the channels were confirmed: whatever is newer is announced, or healed."""
        for name in connection.channels:
            channel = self.hub.channels[name]
            if channel.floor is None:
                channel.floor = tip

    def _drop(self, name: str) -> None:
        self._lingering.pop(name, None)
        if self.hub.drop(name):
            self.broker.unsubscribe(name)

    # The broker's listener

    def announce(self, entry: Entry) -> None:
        if self._held is not None:
            self._hold(entry)
        elif entry.id is not None and entry.id <= self.hub.tip:
            self._heal_from_tip("the broker's ids went back")
        else:
            self.hub.dispatch(entry)

    def watermark(self, tip: EventId) -> None:
        if self._held is not None:
            self._hold(tip)
        elif tip < self.hub.tip:
            self._heal_from_tip("the broker's ids went back")
        else:
            self.hub.tip = tip

    def link_lost(self, reason: str) -> None:
        if self.broker.retention:
            self._stop_healing()
            self._held, self._held_overflowed = deque(), False

    def link_restored(self) -> None:
        if self.broker.retention and self._linked_before:
            self._heal_from_tip("the link was lost")
        self._linked_before = True

    def _hold(self, item: Entry | EventId) -> None:
        assert self._held is not None
        if len(self._held) < HELD_AT_MOST:
            self._held.append(item)
        else:
            self._held_overflowed = True  # what is not held will be read

    # Healing

    def _heal_from_tip(self, reason: str) -> None:
        self._stop_healing()
        if self._held is None:
            self._held, self._held_overflowed = deque(), False
        self._healing = asyncio.create_task(self._heal(reason), name="heal")

    def _stop_healing(self) -> None:
        if self._healing is not None:
            self._healing.cancel()
            self._healing = None

    async def _heal(self, reason: str) -> None:
        """Dispatch what was published since the tip, then what was held meanwhile."""
        self.heals += 1
        since, missed = self.hub.tip, 0
        while True:
            missed += await self._dispatch_missed()
            if not self._held_overflowed:
                break
            self._held, self._held_overflowed = deque(), False
        held, self._held = self._held or (), None
        for item in held:
            if isinstance(item, Entry):
                if item.id is None or item.id > self.hub.tip:
                    self.hub.dispatch(item)
            else:
                self.hub.tip = max(self.hub.tip, item)
        log.info("relay.healed", reason=reason, since=str(since), missed=missed, held=len(held))

    async def _dispatch_missed(self) -> int:
        """Page by page through the journal, reading only channels that were touched and are in use."""
        missed = 0
        while True:
            touched = await self._until_available(lambda: self.broker.touched(self.hub.tip, HEAL_PAGE))
            if not touched.intact:
                await self._begin_anew()
                return missed
            if touched.channels:
                missed += await self._dispatch_touched(touched.channels)
            if touched.complete:
                return missed

    async def _dispatch_touched(self, touched: list[tuple[EventId, str]]) -> int:
        upto = touched[-1][0]
        times = Counter(name for _, name in touched if name in self.hub.channels)
        entries: list[Entry] = []
        if times:
            names, most = list(times), max(times.values())
            # One more than there can be up to `upto`, so that a page cut short still reaches past it.
            page = await self._until_available(lambda: self.broker.read(names, self.hub.tip, most + 1))
            entries = [entry for entry in page.entries if entry.id is not None and entry.id <= upto]
            self._tell_gap_on(page)
        for entry in entries:
            self.hub.dispatch(entry)
        self.hub.tip = upto
        return len(entries)

    def _tell_gap_on(self, page: Page) -> None:
        on_lost = {c for name in page.lost for c in self.hub.channels[name].live} if page.lost else set()
        for connection in on_lost:
            self._tell_gap(connection, str(connection.cursor), page.oldest)

    async def _begin_anew(self) -> None:
        """The journal does not hold the tip any more: trimmed past it, deleted, or rewritten by a failover.

        Every connection is brought forward from its own cursor, and learns by its own history whether it lost
        something. One whose cursor the broker never gave lost what the broker forgot: it goes on from the tip.
        """
        tip = await self._until_available(self.broker.tip)
        self.hub.begin_anew(tip)
        for connection in self.hub.connections:
            if connection.cursor is not None and connection.cursor > tip:
                self._tell_gap(connection, str(connection.cursor), None)
                connection.cursor = tip
