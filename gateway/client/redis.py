"""Straight to the Redis that the gateways listen to, with their own publisher and script: no HTTP between."""

from __future__ import annotations

from redis.asyncio import Redis

from ..broker.base import Publication
from ..broker.redis.connect import client
from ..broker.redis.publisher import Policy, RedisPublisher
from ..broker.redis.routes import route
from ..broker.redis.urls import NO_FILES, SCHEMES, Files
from ..channels import Keys
from ..errors import BrokerUnavailable
from ..events import SSEEvent
from .perloop import PerLoop

__all__ = ["Files", "Policy", "RedisTransport"]


class RedisTransport:
    """`prefix` and `policy` are the gateways'. `timeout` (s) bounds one try.

    Raises `ValueError` for a bad URL, as a `BrokerUrlError` that names the setting when a file is at fault.
    """

    def __init__(self, url: str, prefix: str, policy: Policy, *, timeout: float, files: Files = NO_FILES) -> None:
        _check(url)
        self._route = route(url, files)
        self._keys = Keys(prefix)
        self._policy = policy
        self._timeout = timeout
        self._links = PerLoop(self._open, _close)

    async def send(self, channel: str, event: SSEEvent, idempotency_key: str) -> None:
        publisher, _ = await self._links.get()
        try:
            await publisher.publish([Publication(channel, event, idempotency_key)])
        except BrokerUnavailable as error:
            # The pause in it is advice for HTTP clients; Redis asked for none.
            raise BrokerUnavailable(error.detail, retry_after=None) from None

    async def close(self) -> None:
        await self._links.close()

    def _open(self) -> tuple[RedisPublisher, Redis]:
        redis = client(self._route, timeout=self._timeout)
        return RedisPublisher(redis, self._keys, self._policy, timeout=self._timeout), redis


async def _close(link: tuple[RedisPublisher, Redis]) -> None:
    publisher, redis = link
    await publisher.close()
    await redis.aclose()


def _check(url: str) -> None:
    scheme = url.partition("://")[0]
    if scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in (*SCHEMES, "http", "https"))
        raise ValueError(f"{scheme}:// is not supported by this version; use one of {known}")
