"""Worlds of registries: processes that know of each other's users, and a way to make time pass."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol

from redis.asyncio import Redis
from servers import until

from gateway.broker.memory_registry import MemoryRegistry
from gateway.broker.redis.connect import client
from gateway.broker.redis.partitions import partitions
from gateway.broker.redis.registry import RedisRegistry
from gateway.broker.registry import Registry, Verdict

LIMIT, TICKETS = 3, 4
COUNT = 16
"""Partitions, where there are some."""


@dataclass
class Member:
    """One process: its registry, and whom it was told to send away (None for all)."""

    registry: Registry
    told: list[str | None] = field(default_factory=list)
    streams: Counter[str] = field(default_factory=Counter)
    overloaded: bool = False

    def sent_away(self, user_id: str | None) -> None:
        """Those that came by `comes` end."""
        self.told.append(user_id)
        for user in list(self.streams) if user_id is None else [user_id]:
            for _ in range(self.streams.pop(user, 0)):
                self.registry.leave(user)

    def is_overloaded(self) -> bool:
        return self.overloaded

    async def comes(self, user_id: str) -> Verdict:
        verdict = await self.registry.enter(user_id)
        self.streams[user_id] += verdict is Verdict.ADMITTED
        return verdict

    async def fills(self, user_id: str, times: int) -> list[str]:
        """So many newcomers, one after the other; what each was told."""
        return [await self.registry.enter(user_id) for _ in range(times)]


class Registries(Protocol):
    """A world: `member` starts another process. `apart` is False where all members are one process."""

    apart: bool

    async def member(self, *, limit: int = LIMIT) -> Member: ...

    async def elapse(self, seconds: float) -> None: ...


class MemoryRegistries:
    apart = False

    def __init__(self) -> None:
        self._ahead = 0.0
        self._only: Member | None = None

    async def member(self, *, limit: int = LIMIT) -> Member:
        if self._only is None:
            registry = MemoryRegistry(limit=limit, tickets=TICKETS, clock=lambda: time.monotonic() + self._ahead)
            self._only = Member(registry)
            await registry.start(self._only.sent_away, self._only.is_overloaded)
        return self._only

    async def elapse(self, seconds: float) -> None:
        self._ahead += seconds

    async def close(self) -> None:
        if self._only is not None:
            await self._only.registry.close()


class RedisRegistries:
    """Time passes as it does on the server: what lasts long is made to end there instead."""

    apart = True

    def __init__(self, url: str, prefix: str) -> None:
        self.url, self.prefix = url, prefix
        self._each = partitions(url, prefix, COUNT).each
        self.redis: Redis = client(self._each[0].route, timeout=5)
        self._open = AsyncExitStack()

    async def member(self, *, limit: int = LIMIT, url: str | None = None, timeout: float = 1.5) -> Member:
        each = partitions(url or self.url, self.prefix, COUNT).each
        registry = RedisRegistry(each, limit=limit, tickets=TICKETS, timeout=timeout)
        self._open.push_async_callback(registry.close)
        member = Member(registry)
        await registry.start(member.sent_away, member.is_overloaded)
        return member

    async def elapse(self, seconds: float) -> None:
        """As if it had: all times in the users' hashes, and of the tickets, are moved back."""
        for one in self._each:
            async with client(one.route, timeout=5) as redis:
                await _moved_back(redis, one.prefix, int(seconds * 1000))

    async def close(self) -> None:
        await self._open.aclose()
        await self.redis.aclose()


async def _moved_back(redis: Redis, prefix: str, ms: int) -> None:
    async for key in redis.scan_iter(f"{prefix}:registry:*"):
        fields: dict[Any, Any] = await redis.hgetall(key)
        for name, value in fields.items():
            if name == b"away" or name.startswith(b"t:"):
                await redis.hset(key, name, str(int(value) - ms))
    async for key in redis.scan_iter(f"{prefix}:ticket:*"):
        left = await redis.pttl(key) - ms
        await (redis.pexpire(key, left) if left > 0 else redis.delete(key))


async def counts(member: Member, user_id: str, expected: int, *, within: float = 10.0) -> None:
    """Wait until the user is said to have so many streams."""

    async def reached() -> bool:
        return await member.registry.connections(user_id) == expected

    await until(reached, within=within, what=f"{user_id} has {expected} streams")


async def turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)
