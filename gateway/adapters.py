"""Which broker and which registry stand behind the ports, by the scheme of GATEWAY_BROKER_URL."""

from __future__ import annotations

from .broker.base import Broker
from .broker.memory import MemoryBroker
from .broker.memory_registry import MemoryRegistry
from .broker.registry import Registry
from .config import ConfigError, Settings


def broker(settings: Settings) -> Broker:
    """Raises `ConfigError` for a URL that this version cannot use."""
    if settings.broker_url.startswith("memory:"):
        return MemoryBroker(
            retention=settings.retention,
            max_events=settings.retention_max_events,
            ttl=settings.retention_ttl,
            idempotency_ttl=settings.idempotency_ttl,
        )
    from .broker.redis import RedisBroker
    from .broker.redis.connect import BrokerUrlError
    from .broker.redis.publisher import Policy

    policy = Policy(settings.retention, settings.retention_max_events, settings.retention_ttl, settings.idempotency_ttl)
    try:
        return RedisBroker(
            settings.broker_url, prefix=settings.channel_prefix, policy=policy, timeout=settings.publish_timeout
        )
    except BrokerUrlError as error:
        raise ConfigError([f"GATEWAY_BROKER_URL: {error.detail}"]) from None


def registry(settings: Settings) -> Registry:
    limit, tickets = settings.max_connections_per_user, settings.max_tickets_per_user
    if settings.broker_url.startswith("memory:"):
        return MemoryRegistry(limit=limit, tickets=tickets)
    from .broker.redis.registry import RedisRegistry

    prefix, timeout = settings.channel_prefix, settings.publish_timeout
    return RedisRegistry(settings.broker_url, prefix=prefix, limit=limit, tickets=tickets, timeout=timeout)
