"""From a broker URL to connections: the command client, and the address for the pub/sub link.

redis-py's own retries, timeouts of replies and health checks are off: each caller has a deadline of its own, a silent
second try would publish twice or hide an outage (its default took 58 s to report a stopped server), and its timeout
costs a task for each command. So are its maintenance notifications: with them it no longer looks whether an idle connection was closed before it uses it (8.1.0), and the
first publish after every restart of the server would fail.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import hiredis
from redis.asyncio import Redis
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.maint_notifications import MaintNotificationsConfig

from ...errors import GatewayError

SCHEMES = ("redis", "rediss", "unix")
CONNECT_TIMEOUT = 1.0


class BrokerUrlError(GatewayError):
    """A broker URL that cannot be used; the message names the setting's value without its password."""


def client(url: str, *, timeout: float) -> Redis:
    """The client for commands. `timeout` (s) bounds connecting; who calls bounds the call. Nothing is retried."""
    _options(url)
    made = Redis.from_url(
        url,
        socket_timeout=None,
        socket_connect_timeout=min(timeout, CONNECT_TIMEOUT),
        socket_keepalive=True,
        health_check_interval=0,
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
        retry=Retry(NoBackoff(), 0),
    )
    pool = made.connection_pool
    pool.connection_class = _PACKED[pool.connection_class]
    try:
        pool.connection_class(**pool.connection_kwargs)  # connects to nothing; else the first command would tell
    except (TypeError, ValueError, RedisError):
        raise BrokerUrlError("has an option after the ? that is not known, or does not fit") from None
    return made


class _Packing:
    """Commands written out by hiredis: a third of what a call with 100 events cost was redis-py's own writing."""

    def pack_command(self, *args: Any) -> list[bytes]:
        return [hiredis.pack_command((*args[0].split(), *args[1:]))]  # some names are two words: SCRIPT LOAD


class _Connection(_Packing, Connection):
    pass


class _SSLConnection(_Packing, SSLConnection):
    pass


class _UnixConnection(_Packing, UnixDomainSocketConnection):
    pass


_PACKED = {Connection: _Connection, SSLConnection: _SSLConnection, UnixDomainSocketConnection: _UnixConnection}


@dataclass(frozen=True, slots=True)
class Address:
    """Where the pub/sub link connects, and as whom."""

    host: str = ""
    port: int = 0
    path: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = None

    @classmethod
    def of(cls, url: str) -> Address:
        options = _options(url)
        tls = None
        if options.get("connection_class") is SSLConnection:
            tls = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
            if (certificate := options.get("ssl_certfile")) is not None:
                tls.load_cert_chain(certificate, options.get("ssl_keyfile"))
            if options.get("ssl_cert_reqs") == "none":
                tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        return cls(
            options.get("host", "localhost"),
            int(options.get("port", 6379)),
            options.get("path", "") if urlsplit(url).scheme == "unix" else "",
            options.get("username") or "",
            options.get("password") or "",
            tls,
        )

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"


def _options(url: str) -> dict[str, Any]:
    """What the URL says. An error never repeats it: of a password with a / the parser takes the half for a port."""
    scheme = url.partition("://")[0]
    if scheme not in SCHEMES:
        known = ", ".join(f"{known}://" for known in SCHEMES)
        raise BrokerUrlError(f"{scheme}:// is not supported by this version; use one of memory://, {known}")
    try:
        return dict(parse_url(url))
    except ValueError:
        form = "unix://path" if scheme == "unix" else f"{scheme}://user:password@host:port/database"
        escaped = "; in a password, / # ? @ and % are written %2F %23 %3F %40 %25"
        raise BrokerUrlError(f"expected the form {form}{escaped}") from None
