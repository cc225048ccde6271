"""`redis://`: the registry that processes share, put together from the census, revocations and tickets.

A user is one hash (`known.lua` says what is in it). A ticket is good while its user's hash names it; what it was issued
with lies apart, since whoever shows a ticket has not said who he is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, TypeVar

from redis.exceptions import RedisError

from ...errors import BrokerUnavailable, NotAllowed, RateLimited
from ..here import Here
from ..registry import TICKET_SECONDS, Fleet, Overloaded, SentAway, Verdict, never
from .census import KEPT_MS, Census
from .partitions import Partition
from .publisher import script
from .shards import Shards

REVOCATIONS_KEPT = 10_000
"""A process that was cut off while there were more cannot know whom it missed, and ends all its streams."""

T = TypeVar("T")


class RedisRegistry:
    """See `gateway.broker.registry.Registry` for the contract. `timeout` (s) bounds every single command."""

    def __init__(
        self, partitions: Sequence[Partition], *, limit: int = 0, tickets: int = 32, timeout: float = 1.5
    ) -> None:
        self._timeout = timeout
        self._most_tickets = tickets
        self._shards = Shards(partitions, timeout=timeout)
        self._common = self._shards.common
        self._here = Here(limit, lambda: asyncio.get_running_loop().time())
        self._census = Census(self._shards, self._here, timeout=timeout)
        self._send_away = self._common.client.register_script(script("known", "send_away"))
        self._issue = self._common.client.register_script(script("known", "issue"))

    async def start(self, sent_away: SentAway, overloaded: Overloaded = never) -> None:
        self._census.start(sent_away, overloaded)

    async def close(self) -> None:
        await self._census.close()
        await self._shards.close()

    async def enter(self, user_id: str, ticket: str | None = None) -> Verdict:
        return await self._census.ask(user_id, ticket)

    def leave(self, user_id: str) -> None:
        self._census.left(user_id)

    async def connections(self, user_id: str) -> int:
        return await self._census.count(user_id)

    async def send_away(self, user_id: str, seconds: float | None = None) -> int:
        """First what keeps newcomers away, then what the processes are told: whoever came between is ended too."""
        ms = "" if seconds is None else int(seconds * 1000)
        shard, args = self._shards.of(user_id), [*self._census.pulse.others, ms, KEPT_MS]
        total: int = await self._answer(
            self._send_away(keys=[shard.keys.registry(user_id)], args=args, client=shard.client)
        )
        fields: dict[Any, Any] = {"u": user_id} if seconds is None else {"u": user_id, "f": ms}
        await self._answer(self._common.client.xadd(self._common.keys.revocations, fields, maxlen=REVOCATIONS_KEPT))
        self._census.pulse_soon()
        return total

    async def issue(self, user_id: str, ticket: str, holder: bytes) -> None:
        ms = int(TICKET_SECONDS * 1000)
        args: list[Any] = [*self._census.pulse.others, ticket, ms, self._most_tickets, KEPT_MS]
        shard = self._shards.of(ticket)
        await self._answer(shard.client.set(shard.keys.ticket(ticket), holder, px=ms))
        shard = self._shards.of(user_id)
        away, issued = await self._answer(
            self._issue(keys=[shard.keys.registry(user_id)], args=args, client=shard.client)
        )
        if away:
            raise NotAllowed(f"the user is kept away for {away / 1000:.0f} s")
        if not issued:
            raise RateLimited(
                f"the user has {self._most_tickets} tickets that were not used", retry_after=TICKET_SECONDS
            )

    async def holder(self, ticket: str) -> bytes | None:
        shard = self._shards.of(ticket)
        found: Any = await self._answer(shard.client.get(shard.keys.ticket(ticket)))
        return None if found is None else bytes(found)

    def health(self) -> str | None:
        return self._census.health()

    def failed(self) -> str | None:
        return self._census.failed()

    def fleet(self) -> Fleet:
        return self._census.pulse.fleet

    def here(self, user_id: str) -> int:
        return self._here.streams[user_id]

    async def _answer(self, call: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._timeout):
                return await call
        except (RedisError, OSError, TimeoutError) as error:
            # Subscribers read this: where Redis is, is said in the log (`registry.alone`, `broker.link_lost`).
            raise BrokerUnavailable("Redis did not answer") from error
