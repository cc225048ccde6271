"""Both blackboards keep the contract, and the one in Redis says so when it is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from broker import contract_fleet
from broker.contract_fleet import FORGET_AFTER, Fleets
from redis.asyncio import Redis
from servers import RedisServer

from gateway.broker.fleet import Fleet
from gateway.broker.memory_fleet import MemoryFleet
from gateway.broker.redis.fleet import RedisFleet
from gateway.broker.redis.routes import route
from gateway.errors import BrokerUnavailable


class MemoryFleets:
    """One process is all there is."""

    def __init__(self) -> None:
        self._only = MemoryFleet(forget_after=FORGET_AFTER)

    def fleet(self) -> Fleet:
        return self._only


class RedisFleets:
    def __init__(self, url: str, prefix: str) -> None:
        self._url = url
        self._prefix = prefix
        self.opened: list[RedisFleet] = []

    def fleet(self) -> Fleet:
        self.opened.append(RedisFleet(route(self._url), prefix=self._prefix, timeout=5, forget_after=FORGET_AFTER))
        return self.opened[-1]


@pytest_asyncio.fixture(params=["memory", "redis"])
async def fleets(request: pytest.FixtureRequest, redis_url: str, prefix: str) -> AsyncIterator[Fleets]:
    if request.param == "memory":
        yield MemoryFleets()
        return
    world = RedisFleets(redis_url, prefix)
    yield world
    await asyncio.gather(*(fleet.close() for fleet in world.opened))


class TestFleet(contract_fleet.FleetContract): ...


async def test_what_is_in_redis_has_an_end(redis_url: str, prefix: str) -> None:
    """Nobody need tidy up after a fleet that is gone."""
    world = RedisFleets(redis_url, prefix)
    fleet = world.fleet()
    await fleet.tell("one", b"")
    await fleet.watch("alice", 5)
    async with Redis.from_url(redis_url) as redis:
        keys = await redis.keys(f"{prefix}:*")
        assert len(keys) == 2
        assert all([await redis.pttl(key) > 0 for key in keys])
    await fleet.close()


async def test_a_redis_that_is_away_is_told_as_such(redis_server: RedisServer, prefix: str) -> None:
    """Every call, within its time."""
    fleet = RedisFleet(route(redis_server.url), prefix=prefix, timeout=0.5)
    redis_server.kill()
    for call in (fleet.tell("one", b""), fleet.reports(), fleet.watch("alice", 1), fleet.forget("one")):
        with pytest.raises(BrokerUnavailable):
            await call
    await fleet.close()
