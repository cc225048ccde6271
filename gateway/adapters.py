"""Which brokers, registry and fleet stand behind the ports, by the scheme of GATEWAY_BROKER_URL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from .broker.base import Broker
from .broker.fleet import Fleet
from .broker.memory import MemoryBroker
from .broker.memory_fleet import MemoryFleet
from .broker.memory_registry import MemoryRegistry
from .broker.registry import Registry
from .broker.spread import Publish, Spread
from .config import ConfigError, Settings, env_name

if TYPE_CHECKING:
    from .broker.redis.partitions import Partitions


class Brokers(NamedTuple):
    """One for each partition, and how to publish over several."""

    each: Sequence[Broker]
    spread: Publish | None = None


def brokers(settings: Settings) -> Brokers:
    """Raises `ConfigError` for a URL that cannot be used."""
    if settings.broker_url.startswith("memory:"):
        memory = MemoryBroker(
            retention=settings.retention,
            max_events=settings.retention_max_events,
            ttl=settings.retention_ttl,
            idempotency_ttl=settings.idempotency_ttl,
        )
        return Brokers([memory])
    from .broker.redis import RedisBroker
    from .broker.redis.bounds import Bounds
    from .broker.redis.publisher import Policy

    policy = Policy(settings.retention, settings.retention_max_events, settings.retention_ttl, settings.idempotency_ttl)
    timeout, (partitions, agreement) = settings.publish_timeout, _partitions(settings)
    bounds = Bounds(
        settings.max_waiting_events, settings.max_waiting_bytes, settings.max_replay_reads, settings.replay_page_bytes
    )
    each = [
        RedisBroker(route, prefix=prefix, policy=policy, timeout=timeout, agreement=agreement, bounds=bounds)
        for route, prefix in partitions
    ]
    if agreement is None:
        return Brokers(each)
    return Brokers(each, Spread([broker.publish for broker in each], agreement.reached).publish)


def fleet(settings: Settings) -> Fleet:
    if settings.broker_url.startswith("memory:"):
        return MemoryFleet()
    from .broker.redis.fleet import RedisFleet

    route, prefix = _partitions(settings).each[0]
    return RedisFleet(route, prefix=prefix, timeout=settings.publish_timeout)


def registry(settings: Settings) -> Registry:
    limit, tickets = settings.max_connections_per_user, settings.max_tickets_per_user
    if settings.broker_url.startswith("memory:"):
        return MemoryRegistry(limit=limit, tickets=tickets)
    from .broker.redis.registry import RedisRegistry

    return RedisRegistry(_partitions(settings).each, limit=limit, tickets=tickets, timeout=settings.publish_timeout)


def _partitions(settings: Settings) -> Partitions:
    from .broker.redis.partitions import partitions
    from .broker.redis.urls import BrokerUrlError, Files

    files = Files(settings.redis_ca_file, settings.redis_cert_file, settings.redis_key_file)
    try:
        return partitions(settings.broker_url, settings.channel_prefix, settings.redis_partitions, files)
    except BrokerUrlError as error:
        raise ConfigError([f"{env_name(error.field or 'broker_url')}: {error.detail}"]) from None
