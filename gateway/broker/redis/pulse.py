"""A process's sign of life, and what it is told in return: who else lives and how busy they are, and which users were
sent away.

A process's name is a life: whoever was taken for dead gets a new one, and what was counted under the old one is void.
Revocations are a history with a cursor, so a process that was cut off learns what it missed.
"""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import uuid4

import structlog
from redis.asyncio import Redis

from ...channels import Keys
from ...ids import START, EventId
from ..here import Here
from ..registry import Fleet, SentAway
from .publisher import script

DEAD_AFTER_MS = 5_000
REVOCATIONS_AT_ONCE = 1000

log = structlog.get_logger(__name__)


class Others(NamedTuple):
    """The living at a moment of Redis' clock, as the scripts want them."""

    living: bytes
    seen: bytes


class Pulse:
    """`name` is empty before the first beat; `others` and `fleet` are those who lived at the last one."""

    def __init__(self, client: Redis, keys: Keys, here: Here) -> None:
        self.name = b""
        self.others = Others(b"", b"0")
        self.fleet = Fleet(1, 0)
        self._keys = keys
        self._here = here
        self._client = client
        self._script = client.register_script(script("pulse"))
        self._cursor = START

    async def beat(self, sent_away: SentAway, overloaded: bool) -> bool:
        """Whether it has got a new name."""
        before, complete = self.name, False
        while not complete:
            self.name, now, living, busy, first, last, rows = await self._script(
                keys=[self._keys.processes, self._keys.revocations, self._keys.overloaded],
                args=[
                    *(self.name, uuid4().hex[:8], DEAD_AFTER_MS),
                    *(str(self._cursor), REVOCATIONS_AT_ONCE, int(overloaded)),
                ],
            )
            self.others, self.fleet = Others(b" ".join(living), now), Fleet(len(living), busy)
            complete = self._learn(first, last, rows, int(now), sent_away)
        return self.name != before

    async def end(self) -> None:
        """So that the others need not find out."""
        if self.name:
            await self._client.zrem(self._keys.processes, self.name)
            await self._client.zrem(self._keys.overloaded, self.name)
            self.name = b""

    def _learn(self, first: bytes, last: bytes, rows: list[Any], now_ms: int, sent_away: SentAway) -> bool:
        """False when there is more to read."""
        if EventId.parse(last.decode()) < self._cursor:  # ids went back, in a failover: what is new is not known
            self._cursor = START
            return False
        if first and START < self._cursor < EventId.parse(first.decode()):
            log.error("registry.revocations_missed", since=str(self._cursor))
            sent_away(None)
        for id, fields in rows:
            self._cursor = EventId.parse(id.decode())
            said = dict(zip(fields[::2], fields[1::2], strict=True))
            try:
                user_id, ms = said[b"u"].decode(), int(said[b"f"]) if b"f" in said else None
            except (KeyError, ValueError):
                if b"b" not in said:  # with it the stream was begun; others are of somebody else, and the next count
                    log.warning("registry.foreign_entry_skipped", id=id.decode())
                continue
            if ms is not None:
                self._here.keep_away(user_id, (self._cursor.ms + ms - now_ms) / 1000)
            sent_away(user_id)
        return len(rows) < REVOCATIONS_AT_ONCE
