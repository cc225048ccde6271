"""Worlds: a place where processes share a broker, with a way to make time pass in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any, NamedTuple, Protocol

import pytest
import pytest_asyncio
from redis.asyncio import Redis

pytest.register_assert_rewrite(
    "broker.contract",
    "broker.contract_fleet",
    "broker.contract_history",
    "broker.contract_registry",
    "broker.contract_subscribe",
    "broker.listening",
    "broker.registering",
)

from broker.listening import Heard  # noqa: E402 - its assertions are rewritten first
from broker.registering import COUNT, MemoryRegistries, RedisRegistries, Registries  # noqa: E402
from clusters import RedisCluster  # noqa: E402
from sentinels import Service  # noqa: E402
from servers import until  # noqa: E402

from gateway.broker.base import Broker  # noqa: E402
from gateway.broker.memory import MemoryBroker, wall_clock_ms  # noqa: E402
from gateway.broker.redis import RedisBroker  # noqa: E402
from gateway.broker.redis.connect import client  # noqa: E402
from gateway.broker.redis.partitions import partitions  # noqa: E402
from gateway.broker.redis.publisher import Policy  # noqa: E402


class Process(NamedTuple):
    """What one gateway process has: its broker, and what it heard."""

    broker: Broker
    heard: Heard


class World(Protocol):
    """`process` starts a process of this world; the policy is that of the first. `elapse` lets seconds pass."""

    processes_are_apart: bool

    async def process(self, **policy: Any) -> Process: ...

    async def elapse(self, seconds: float) -> None: ...

    async def now_ms(self) -> int: ...


class MemoryWorld:
    """One process is all there is: every process of this world is the same one. The clock is the test's."""

    processes_are_apart = False

    def __init__(self) -> None:
        self._ahead_ms = 0
        self._only: Process | None = None

    async def process(self, **policy: Any) -> Process:
        if self._only is None:
            self._only = Process(MemoryBroker(clock_ms=self._clock_ms, **policy), Heard())
            await self._only.broker.start(self._only.heard)
        return self._only

    async def elapse(self, seconds: float) -> None:
        self._ahead_ms += int(seconds * 1000)

    async def now_ms(self) -> int:
        return self._clock_ms()

    def _clock_ms(self) -> int:
        return wall_clock_ms() + self._ahead_ms

    async def close(self) -> None:
        if self._only is not None:
            await self._only.broker.close()


class RedisWorld:
    """Any number of processes on one server, or in one partition of a cluster; time passes as it does there."""

    processes_are_apart = True

    def __init__(self, url: str, prefix: str) -> None:
        self.url = url
        each, self._agreement = partitions(url, prefix, COUNT)
        self._route, self.prefix = each[-1]
        self.redis: Redis = client(self._route, timeout=5)
        self._policy: Policy | None = None
        self._open = AsyncExitStack()

    async def process(self, **policy: Any) -> Process:
        self._policy = self._policy or Policy(**policy)
        broker = RedisBroker(self._route, prefix=self.prefix, policy=self._policy, agreement=self._agreement)
        process = Process(broker, Heard())
        self._open.push_async_callback(process.broker.close)
        await process.broker.start(process.heard)
        await until(lambda: process.heard.restored, what="the link is up")
        return process

    async def elapse(self, seconds: float) -> None:
        end = await self.now_ms() + seconds * 1000

        async def reached() -> bool:
            return await self.now_ms() > end

        await until(reached, within=seconds + 10)

    async def now_ms(self) -> int:
        second, microsecond = await self.redis.time()
        return int(second) * 1000 + int(microsecond) // 1000

    def history_key(self, channel: str) -> str:
        return f"{self.prefix}:history:{channel}"

    async def close(self) -> None:
        await self._open.aclose()
        await self.redis.aclose()


@pytest.fixture(scope="session")
def sentinel_url() -> Iterator[str]:
    """A service watched by sentinels, for the whole session; its servers want one password, its sentinels another."""
    with Service(password="of-servers", sentinel_password="of-sentinels") as service:
        yield service.url


@pytest.fixture(scope="session")
def cluster() -> Iterator[RedisCluster]:
    """Three masters for the whole session; slots may move."""
    with RedisCluster(password="of-nodes") as cluster:
        yield cluster


@pytest.fixture
def cluster_url(cluster: RedisCluster) -> str:
    return cluster.url


FORMS = ("memory", "redis", "sentinel", "cluster")


@pytest_asyncio.fixture(params=FORMS)
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """The world of each adapter in turn, and in each form."""
    if request.param == "memory":
        made: MemoryWorld | RedisWorld = MemoryWorld()
    else:
        made = RedisWorld(request.getfixturevalue(f"{request.param}_url"), request.getfixturevalue("prefix"))
    yield made
    await made.close()


@pytest_asyncio.fixture
async def redis_world(redis_url: str, prefix: str) -> AsyncIterator[RedisWorld]:
    """The world on Redis, for what only Redis can do."""
    made = RedisWorld(redis_url, prefix)
    yield made
    await made.close()


@pytest_asyncio.fixture(params=FORMS)
async def registries(request: pytest.FixtureRequest) -> AsyncIterator[Registries]:
    """The registries of each adapter in turn."""
    if request.param == "memory":
        made: MemoryRegistries | RedisRegistries = MemoryRegistries()
    else:
        made = RedisRegistries(request.getfixturevalue(f"{request.param}_url"), request.getfixturevalue("prefix"))
    yield made
    await made.close()


@pytest_asyncio.fixture
async def redis_registries(redis_url: str, prefix: str) -> AsyncIterator[RedisRegistries]:
    """Those on Redis, for what only Redis can do."""
    made = RedisRegistries(redis_url, prefix)
    yield made
    await made.close()
