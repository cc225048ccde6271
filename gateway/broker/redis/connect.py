"""Where the server is now, and the client for commands that connects there.

A *route* is asked anew for every connection, so that whatever moves the server (Sentinel, DNS, an address that is
handed on) is followed by connecting again, and by nothing else. Both the pub/sub link and redis-py's pool do.

redis-py's own retries, timeouts of replies and health checks are off: each caller has a deadline of its own, a silent
second try would publish twice or hide an outage (its default took 58 s to report a stopped server), and its timeout
costs a task for each command. So are its maintenance notifications: with them it no longer looks whether an idle
connection was closed before it uses it (8.1.0), and the first publish after every restart of the server would fail.
Nor does it introduce itself: HELLO and CLIENT SETINFO would be two more things that a server or an ACL may refuse.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass, field
from typing import Any, Protocol

import hiredis
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AskError, ClusterDownError, ConnectionError, MovedError, ReadOnlyError, TryAgainError
from redis.maint_notifications import MaintNotificationsConfig

from .urls import NOBODY, Login

CONNECT_TIMEOUT = 1.0
SENT_AGAIN_AFTER = 0.05


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is, and as whom to come."""

    host: str = ""
    port: int = 0
    path: str = ""
    login: Login = NOBODY
    db: int = 0
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"


class Route(Protocol):
    """`elected`: the server was chosen among several, and may have lost its office since: ask it before use."""

    elected: bool

    async def find(self) -> Address:
        """Where the server is now. Raises `OSError`."""
        ...

    def doubt(self) -> None:
        """What was found last may not be true any more."""
        ...


@dataclass(frozen=True, slots=True)
class Fixed:
    """One server, or an address that somebody else hands on."""

    address: Address
    elected = False

    async def find(self) -> Address:
        return self.address

    def doubt(self) -> None:
        pass


def client(to: Route, *, timeout: float) -> Redis:
    """The client for commands. `timeout` (s) bounds connecting; who calls bounds the call. Nothing is retried."""
    pool = ConnectionPool(
        _Routed,
        route=to,
        socket_timeout=None,
        socket_connect_timeout=min(timeout, CONNECT_TIMEOUT),
        health_check_interval=0,
        driver_info=None,
        protocol=2,
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
        retry=Retry(NoBackoff(), 0),
    )
    return _Client.from_pool(pool)


class _Client(Redis):
    """A command that came to the wrong node, or to a slot that is on its way, was not executed: it is sent again, to
    where the slot went, until whoever waits for the answer gives up."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        while True:
            try:
                return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
            except MovedError:
                await self.connection_pool.disconnect(inuse_connections=False)
            except (AskError, TryAgainError, ClusterDownError):
                pass
            await asyncio.sleep(SENT_AGAIN_AFTER)


class _Routed(AbstractConnection):
    """A connection that asks the way each time it connects, and makes sure that it came to a master.

    Commands are written out by hiredis: a third of what a call with 100 events cost was redis-py's own writing.
    """

    def __init__(self, *, route: Route, **options: Any) -> None:
        super().__init__(**options)
        self._route = route
        self._address: Address | None = None

    def pack_command(self, *args: Any) -> list[bytes]:
        return [hiredis.pack_command((*args[0].split(), *args[1:]))]  # some names are two words: SCRIPT LOAD

    def repr_pieces(self) -> list[tuple[str, str]]:
        return [("address", self._host_error())]

    def _host_error(self) -> str:
        return "the server" if self._address is None else str(self._address)

    async def _connect(self) -> None:
        try:
            await self._connect_to(await self._route.find())
        except (OSError, TimeoutError):
            self._route.doubt()
            raise

    async def _connect_to(self, to: Address) -> None:
        self._address = to
        async with asyncio.timeout(self.socket_connect_timeout):
            if to.path:
                self._reader, self._writer = await asyncio.open_unix_connection(to.path)
            else:
                self._reader, self._writer = await asyncio.open_connection(to.host, to.port, ssl=to.tls)
                sock: socket.socket = self._writer.transport.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.username, self.password, self.db = to.login.username, to.login.password, to.db

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        await super().on_connect_check_health(check_health)
        if self._route.elected:
            await self.send_command("INFO", "replication", check_health=False)
            if not is_master(await self.read_response()):
                self._route.doubt()
                raise ConnectionError(f"{self._host_error()} is no master any more")

    async def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return await super().read_response(*args, **options)
        except (
            ReadOnlyError,
            MovedError,
        ):  # a master that was demoted, a slot that left: the next is to find out where
            self._route.doubt()
            await self.disconnect(nowait=True)
            raise


def is_master(info: bytes) -> bool:
    """By a server's answer to `INFO replication`."""
    return b"role:master" in info
