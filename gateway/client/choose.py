"""From the settings to a publisher. Called when a service starts, so here what is wrong is raised."""

from __future__ import annotations

from .. import config
from ..errors import GatewayError
from .failopen import BUDGET, FIRST_TRY, FailOpenPublisher
from .transport import Transport

_SETTINGS = (
    "publisher_url",
    "publisher_key",
    "redis_ca_file",
    "redis_cert_file",
    "redis_key_file",
    "redis_partitions",
    "channel_prefix",
    "retention",
    "retention_max_events",
    "retention_ttl",
    "idempotency_ttl",
)
_UNSET = (
    "GATEWAY_PUBLISHER_URL: is not set. Give the gateway's address, for example http://127.0.0.1:8080 (and "
    "GATEWAY_PUBLISHER_KEY), or the Redis that the gateways use, for example redis://127.0.0.1:6379/0"
)


def get_sse_publisher(
    url: str | None = None,
    *,
    key: str | None = None,
    budget: float = BUDGET,
) -> FailOpenPublisher:
    """A publisher for `url` and `key`, or GATEWAY_PUBLISHER_URL and GATEWAY_PUBLISHER_KEY when not given.

    `budget` is the most seconds that a call may take. Make one publisher per process and share it; it
    connects on first use. Raises `ConfigError`, a problem per line, when the settings cannot be used.
    """
    given = {"publisher_url": url, "publisher_key": key}
    overrides = {name: value for name, value in given.items() if value is not None}
    settings = config.load(overrides, only=_SETTINGS).settings
    if settings.publisher_url is None:
        raise config.ConfigError([_UNSET])
    try:
        transport = _transport(settings.publisher_url, settings, budget)
    except ValueError as error:
        at_fault, what = (error.field, error.detail) if isinstance(error, GatewayError) else (None, error)
        raise config.ConfigError([f"{config.env_name(at_fault or 'publisher_url')}: {what}"]) from None
    return FailOpenPublisher(transport, budget=budget)


def _transport(url: str, settings: config.Settings, budget: float) -> Transport:
    """Imports what this URL needs, and nothing that it does not."""
    if url.startswith(("http://", "https://")):
        from .http import HttpTransport

        return HttpTransport(url, settings.publisher_key)

    from .redis import Files, Policy, RedisTransport

    policy = Policy(
        retention=settings.retention,
        max_events=settings.retention_max_events,
        ttl=settings.retention_ttl,
        idempotency_ttl=settings.idempotency_ttl,
    )
    files = Files(settings.redis_ca_file, settings.redis_cert_file, settings.redis_key_file)
    prefix, count = settings.channel_prefix, settings.redis_partitions
    return RedisTransport(url, prefix, policy, timeout=budget * FIRST_TRY, files=files, count=count)
