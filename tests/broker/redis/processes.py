"""A gateway process' broker on a given Redis, and a watch on the event loop that it shares with the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Self

from broker.listening import Heard
from redis.asyncio import Redis
from servers import until
from structlog.typing import EventDict

from gateway.broker.redis import RedisBroker
from gateway.broker.redis.bounds import Bounds
from gateway.broker.redis.publisher import Policy
from gateway.broker.redis.routes import route
from gateway.broker.redis.urls import NO_FILES, Files

PREFIX = "t"
ALICE, BOB = "user:alice", "user:bob"
NOTICED_WITHIN = 6.0
"""The silence limit is 2.5 s; the rest is for slow machines."""


@asynccontextmanager
async def running(
    url: str,
    prefix: str = PREFIX,
    *,
    timeout: float = 1.5,
    policy: Policy | None = None,
    up: bool = True,
    files: Files = NO_FILES,
) -> AsyncIterator[tuple[RedisBroker, Heard]]:
    """A started broker and what it hears; with `up`, from when its link is up."""
    broker, heard = RedisBroker(route(url, files), prefix=prefix, policy=policy, timeout=timeout), Heard()
    await broker.start(heard)
    try:
        if up:
            await until(lambda: heard.restored, what="the link is up")
        yield broker, heard
    finally:
        await broker.close()


@asynccontextmanager
async def idle(
    url: str, prefix: str = PREFIX, *, timeout: float = 1.5, bounds: Bounds | None = None
) -> AsyncIterator[RedisBroker]:
    """A broker that was not started: it can publish and read, and has no link."""
    broker = RedisBroker(route(url), prefix=prefix, timeout=timeout, bounds=bounds)
    try:
        yield broker
    finally:
        await broker.close()


async def channels_of(redis: Redis, prefix: str = PREFIX) -> set[str]:
    """What the server says is subscribed, without the probes' own channels."""
    found: list[bytes] = await redis.pubsub_channels(f"{prefix}:*")  # type: ignore[assignment]
    names = {name.decode().removeprefix(f"{prefix}:") for name in found}
    return {name for name in names if not name.startswith("probe:")}


async def restored(heard: Heard, times: int) -> None:
    await until(lambda: heard.restored >= times, within=15, what=f"the link was restored (time {times})")


class LoopWatch:
    """`worst`: the longest time, in seconds, for which the event loop did not go round."""

    def __init__(self) -> None:
        self._ticks: list[float] = []

    @property
    def worst(self) -> float:
        return max(after - before for before, after in pairwise(self._ticks))

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._tick())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _tick(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            self._ticks.append(clock())
            await asyncio.sleep(0.01)


def reasons(logs: list[EventDict]) -> list[str]:
    """Why links were lost, as it was logged."""
    return [line["reason"] for line in logs if line["event"] == "broker.link_lost"]


def gateway_tasks() -> int:
    """How many tasks there are, a proxy's own apart."""
    return len([task for task in asyncio.all_tasks() if not task.get_name().startswith("proxy-")])
