"""Hearing the broker, and making good what was not heard.

Rule: a live connection is only ever given entries in id order. So from the moment the link is lost, announcements
are held; the journal tells which channels were touched since the watermark; what was missed goes through the same
dispatch, then what was held. When the journal cannot tell, nothing in memory is trusted, and every connection
catches up from its own cursor.
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
from .hub import Hub
from .ids import EventId

HELD_BYTES = 2**24
HELD_OVERHEAD = 350
HEAL_PAGE = 500
STALE_WATERMARKS = 3
"""One or two may have been under way when a healing overtook them; more, and the journal really is behind."""
RETRY_READ_EVERY = 0.25

T = TypeVar("T")

log = structlog.get_logger(__name__)


async def until_available(read: Callable[[], Awaitable[T]]) -> T:
    """Read from the broker, however long it is away."""
    while True:
        try:
            return await read()
        except BrokerUnavailable:
            await asyncio.sleep(RETRY_READ_EVERY)


class Healing:
    """The broker's listener. `heals` counts how often something had to be made good."""

    def __init__(self, hub: Hub, broker: Broker, held_bytes: int | None = None) -> None:
        self.heals = 0
        self._most_bytes = HELD_BYTES if held_bytes is None else held_bytes
        self._hub = hub
        self._broker = broker
        self._held: deque[Entry | EventId] | None = None
        self._held_bytes = 0
        self._held_overflowed = False
        self._stale_watermarks = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def under_way(self) -> bool:
        """Whether announcements are being held now."""
        return self._held is not None

    def close(self) -> None:
        self._stop()

    # What the broker tells

    def announce(self, entry: Entry) -> None:
        if self._held is not None:
            self._hold(entry)
        elif entry.id is None or entry.id > self._hub.tip:
            self._hub.dispatch(entry)
        # else it was under way while a healing read it: history was ahead of its announcement

    def watermark(self, tip: EventId) -> None:
        if not self._broker.retention:
            return  # events have no ids, so there is no position to hand on
        if self._held is not None:
            self._hold(tip)
        elif tip >= self._hub.tip:
            self._hub.tip, self._stale_watermarks = tip, 0
        else:
            self._stale_watermarks += 1
            if self._stale_watermarks >= STALE_WATERMARKS:
                self._start("the broker's ids went back")

    def link_lost(self) -> None:
        if self._broker.retention:
            self._stop()
            self._hold_from_now()

    def link_restored(self) -> None:
        if self._held is not None:
            self._start("the link was lost")

    def _hold_from_now(self) -> None:
        self._held, self._held_bytes, self._held_overflowed = deque(), 0, False

    def _hold(self, item: Entry | EventId) -> None:
        assert self._held is not None
        size = len(item.data) + HELD_OVERHEAD if isinstance(item, Entry) else 0
        if self._held_bytes + size > self._most_bytes:
            self._held_overflowed = True  # what is not held will be read
        elif not self._held_overflowed:
            self._held.append(item)
            self._held_bytes += size

    # Making good

    def _start(self, reason: str) -> None:
        self._stop()
        if self._held is None:
            self._hold_from_now()
        self._task = asyncio.create_task(self._heal(reason), name="heal")

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _heal(self, reason: str) -> None:
        """Dispatch what was published since the tip, then what was held meanwhile."""
        self.heals += 1
        self._stale_watermarks = 0
        since, missed = self._hub.tip, 0
        while True:
            try:
                missed += await self._dispatch_missed()
            except Exception:  # without an end to it this process would be deaf: say so, and try again
                log.exception("healing.failed")
                await asyncio.sleep(RETRY_READ_EVERY)
                continue
            if not self._held_overflowed:
                break
            self._hold_from_now()
        held, self._held = self._held or (), None
        for item in held:
            if isinstance(item, Entry):
                self.announce(item)
            else:
                self._hub.tip = max(self._hub.tip, item)
        log.info("healing.done", reason=reason, since=str(since), missed=missed, held=len(held))

    async def _dispatch_missed(self) -> int:
        """Page by page through the journal, reading only channels that were touched and are in use."""
        missed = 0
        while True:
            touched = await until_available(lambda: self._broker.touched(self._hub.tip, HEAL_PAGE))
            if not touched.intact:
                await self._begin_anew()
                return missed
            missed += await self._dispatch_touched(touched.channels)
            if touched.complete and (not touched.channels or self._hub.tip >= touched.channels[-1][0]):
                return missed

    async def _dispatch_touched(self, touched: list[tuple[EventId, str]]) -> int:
        """Stops short when the history changed under it; the journal then tells what to do."""
        times = Counter(name for _, name in touched if name in self._hub.channels)
        upto, missed = touched[-1][0] if touched else self._hub.tip, 0
        while times and self._hub.tip < upto:
            page = await until_available(lambda: self._broker.read(list(times), self._hub.tip, max(times.values()) + 1))
            if page.upto <= self._hub.tip:
                return missed
            self._lost(page, min(page.upto, upto))
            entries = [entry for entry in page.entries if entry.id is not None and entry.id <= upto]
            for entry in entries:
                self._hub.dispatch(entry)
            missed += len(entries)
            self._hub.tip = min(page.upto, upto)
        self._hub.tip = max(self._hub.tip, upto)
        return missed

    def _lost(self, page: Page, upto: EventId) -> None:
        """Something after the hub's tip is gone. Who stands further back must not be given the tails that lack it;
        who is ahead of the tip, from a history read meanwhile, learns from its own history whether it lost it."""
        channels = [channel for name in page.lost if (channel := self._hub.channels.get(name)) is not None]
        for channel in channels:
            channel.lacks(upto)
        for connection in list(dict.fromkeys(c for channel in channels for c in channel.live)):
            if connection.cursor is not None and connection.cursor <= self._hub.tip:
                self._hub.tell_gap(connection, str(connection.cursor), page.oldest)
            else:
                self._hub.set_back(connection)

    async def _begin_anew(self) -> None:
        """The journal does not hold the tip any more: trimmed past it, deleted, or rewritten by a failover.

        Every connection is brought forward from its own cursor, and learns by its own history whether it lost
        something. A cursor that the broker does not know (any more) is told as a gap, like one that never was.
        """
        self._hub.begin_anew(await until_available(self._broker.tip))
