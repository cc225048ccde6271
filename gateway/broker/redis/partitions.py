"""Partitions of a Redis Cluster: routes, names of keys, and that everybody means the same number of them.

Partition *n* of prefix `sse` has the keys `sse:{n}:…`, so it is one slot. The number of partitions is written into the
cluster by whoever comes first, and never changed: with another one, users' channels would be elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from redis.asyncio import Redis
from redis.exceptions import RedisError

from ...errors import BrokerUnavailable
from .cluster import Cluster, SlotOwner
from .connect import Route, client
from .examine import Unfit
from .routes import fixed_or_elected
from .urls import NO_FILES, Files, read

WITHIN = 1.0


class Partition(NamedTuple):
    """The way to one, and what the names of its keys begin with."""

    route: Route
    prefix: str


class Partitions(NamedTuple):
    """All of a URL, in order; one where it is no cluster's, and then there is nothing to agree on."""

    each: Sequence[Partition]
    agreement: Agreement | None


def partitions(url: str, prefix: str, count: int, files: Files = NO_FILES) -> Partitions:
    """Raises `BrokerUrlError`; connects to nothing. `count` is for a cluster."""
    target = read(url, files)
    if not target.cluster:
        return Partitions([Partition(fixed_or_elected(target), prefix)], None)
    cluster = Cluster(target)
    prefixes = [f"{prefix}:{{{number}}}" for number in range(count)]
    each = [Partition(SlotOwner(cluster, name), name) for name in prefixes]
    return Partitions(each, Agreement(each[0], count))


class Agreement:
    """On the number of partitions."""

    def __init__(self, first: Partition, count: int) -> None:
        self._first = first
        self._key = f"{first.prefix}:partitions"
        self._count = count
        self._reached = False

    async def reached(self) -> None:
        """Before something is published: raises `BrokerUnavailable` when it cannot be reached."""
        if not self._reached:
            try:
                async with asyncio.timeout(WITHIN):
                    await self.reach()
            except (RedisError, OSError, TimeoutError) as error:
                raise BrokerUnavailable(
                    f"Redis did not take the event: {str(error) or type(error).__name__}"
                ) from error

    async def reach(self) -> None:
        """Raises `Unfit` when the cluster is used with another number; `RedisError` when it cannot be asked."""
        if self._reached:
            return
        redis: Redis
        async with client(self._first.route, timeout=WITHIN) as redis:
            await redis.set(self._key, self._count, nx=True)
            agreed = int(await redis.get(self._key) or 0)
        if agreed != self._count:
            raise Unfit(
                f"this cluster is used with {agreed} partitions, not {self._count}: GATEWAY_REDIS_PARTITIONS must be "
                f"{agreed} (to have another number: end all gateways and publishers, and delete the key {self._key})"
            )
        self._reached = True
