"""`redis://`: the fleet's blackboard, two keys with an end of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from redis.exceptions import RedisError

from ...channels import Keys
from ...errors import BrokerUnavailable
from ..fleet import FORGET_AFTER
from . import connect
from .publisher import script


class RedisFleet:
    """See `gateway.broker.fleet.Fleet` for the contract. `timeout` (s) bounds every call."""

    def __init__(
        self, route: connect.Route, *, prefix: str = "sse", timeout: float = 1.5, forget_after: float = FORGET_AFTER
    ) -> None:
        keys = Keys(prefix)
        self._keys = [keys.fleet, keys.watched]
        self._client = client = connect.client(route, timeout=timeout)
        self._timeout = timeout
        self._forget_after_ms = int(forget_after * 1000)
        self._script = client.register_script(script("fleet"))
        self._watch = client.register_script(_WATCH)

    async def close(self) -> None:
        await self._client.aclose()

    async def tell(self, name: str, report: bytes) -> list[str]:
        args: list[Any] = [name, report, self._forget_after_ms]
        return [what.decode() for what in await self._answer(self._script(keys=self._keys, args=args))]

    async def reports(self) -> list[bytes]:
        found: list[bytes] = await self._answer(self._script(keys=self._keys, args=["", "", self._forget_after_ms]))
        return found

    async def watch(self, what: str, seconds: float) -> None:
        await self._answer(self._watch(keys=self._keys[1:], args=[what, int(seconds * 1000)]))

    async def forget(self, name: str) -> None:
        await self._answer(self._client.hdel(self._keys[0], name))

    async def _answer(self, call: Awaitable[Any]) -> Any:
        try:
            async with asyncio.timeout(self._timeout):
                return await call
        except (RedisError, OSError, TimeoutError) as error:
            raise BrokerUnavailable(f"Redis did not answer: {str(error) or type(error).__name__}") from error


_WATCH = """
local time = redis.call('TIME')
redis.call('ZADD', KEYS[1], time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[2], ARGV[1])
return redis.call('PEXPIRE', KEYS[1], math.max(ARGV[2], 60000))
"""
"""By Redis' clock, since no two processes have the same."""
