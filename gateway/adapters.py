"""Which broker, registry and fleet stand behind the ports, by the scheme of GATEWAY_BROKER_URL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .broker.base import Broker
from .broker.fleet import Fleet
from .broker.memory import MemoryBroker
from .broker.memory_fleet import MemoryFleet
from .broker.memory_registry import MemoryRegistry
from .broker.registry import Registry
from .config import ConfigError, Settings, env_name

if TYPE_CHECKING:
    from .broker.redis.connect import Route


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
    from .broker.redis.publisher import Policy

    policy = Policy(settings.retention, settings.retention_max_events, settings.retention_ttl, settings.idempotency_ttl)
    prefix, timeout = settings.channel_prefix, settings.publish_timeout
    return RedisBroker(_route(settings), prefix=prefix, policy=policy, timeout=timeout)


def fleet(settings: Settings) -> Fleet:
    if settings.broker_url.startswith("memory:"):
        return MemoryFleet()
    from .broker.redis.fleet import RedisFleet

    return RedisFleet(_route(settings), prefix=settings.channel_prefix, timeout=settings.publish_timeout)


def registry(settings: Settings) -> Registry:
    limit, tickets = settings.max_connections_per_user, settings.max_tickets_per_user
    if settings.broker_url.startswith("memory:"):
        return MemoryRegistry(limit=limit, tickets=tickets)
    from .broker.redis.registry import RedisRegistry

    prefix, timeout = settings.channel_prefix, settings.publish_timeout
    return RedisRegistry(_route(settings), prefix=prefix, limit=limit, tickets=tickets, timeout=timeout)


def _route(settings: Settings) -> Route:
    from .broker.redis.routes import route
    from .broker.redis.urls import BrokerUrlError, Files

    files = Files(settings.redis_ca_file, settings.redis_cert_file, settings.redis_key_file)
    try:
        return route(settings.broker_url, files)
    except BrokerUrlError as error:
        raise ConfigError([f"{env_name(error.field or 'broker_url')}: {error.detail}"]) from None
