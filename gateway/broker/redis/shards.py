"""Where what is known of users and tickets lies: with each its own, and what is common to all in the first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from redis.asyncio import Redis

from ...channels import Keys, partition
from .connect import client
from .partitions import Partition


class Shard(NamedTuple):
    client: Redis
    keys: Keys


class Shards:
    """One for each partition; on a single Redis one for all."""

    def __init__(self, partitions: Sequence[Partition], *, timeout: float) -> None:
        self._each = [Shard(client(each.route, timeout=timeout), Keys(each.prefix)) for each in partitions]
        self.common = self._each[0]

    def of(self, name: str) -> Shard:
        """That of a user, or of a ticket."""
        return self._each[partition(name, len(self._each))]

    async def close(self) -> None:
        for shard in self._each:
            await shard.client.aclose()
