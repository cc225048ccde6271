"""Straight to the Redis that the gateways listen to, with their own publisher and script: no HTTP between."""

from __future__ import annotations

from typing import NamedTuple

from redis.asyncio import Redis

from ..broker.base import Publication
from ..broker.redis.connect import client
from ..broker.redis.partitions import partitions
from ..broker.redis.publisher import Policy, RedisPublisher
from ..broker.redis.urls import NO_FILES, SCHEMES, Files
from ..broker.spread import Publish, Spread
from ..channels import Keys
from ..errors import BrokerUnavailable
from ..events import SSEEvent
from .perloop import PerLoop

__all__ = ["Files", "Policy", "RedisTransport"]


class RedisTransport:
    """`prefix` and `policy` are the gateways'. `timeout` (s) bounds one try.

    Raises `ValueError` for a bad URL, as a `BrokerUrlError` that names the setting when a file is at fault.
    """

    def __init__(
        self, url: str, prefix: str, policy: Policy, *, timeout: float, files: Files = NO_FILES, count: int = 16
    ) -> None:
        _check(url)
        self._partitions = partitions(url, prefix, count, files)
        self._policy = policy
        self._timeout = timeout
        self._links = PerLoop(self._open, _close)

    async def send(self, channel: str, event: SSEEvent, idempotency_key: str) -> None:
        links = await self._links.get()
        try:
            await links.publish([Publication(channel, event, idempotency_key)])
        except BrokerUnavailable as error:
            # The pause in it is advice for HTTP clients; Redis asked for none.
            raise BrokerUnavailable(error.detail, retry_after=None) from None

    async def close(self) -> None:
        await self._links.close()

    def _open(self) -> _Links:
        each, agreement = self._partitions
        clients = [client(one.route, timeout=self._timeout) for one in each]
        publishers = [
            RedisPublisher(redis, Keys(one.prefix), self._policy, timeout=self._timeout, sharded=agreement is not None)
            for redis, one in zip(clients, each, strict=True)
        ]
        publish = publishers[0].publish
        if agreement is not None:
            publish = Spread([publisher.publish for publisher in publishers], agreement.reached).publish
        return _Links(publish, publishers, clients)


class _Links(NamedTuple):
    publish: Publish
    publishers: list[RedisPublisher]
    clients: list[Redis]


async def _close(links: _Links) -> None:
    for publisher in links.publishers:
        await publisher.close()
    for redis in links.clients:
        await redis.aclose()


def _check(url: str) -> None:
    scheme = url.partition("://")[0]
    if scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in (*SCHEMES, "http", "https"))
        raise ValueError(f"{scheme}:// is not supported by this version; use one of {known}")
