"""A TCP proxy inside the test, to stand between the gateway and its Redis and do what networks do.

    pass_on()       the way it should be; opens the port again after `refuse`
    black_hole()    accept and swallow, in both directions, without a word
    hold()          read from neither side: what is sent fills the buffers, and is delivered on `pass_on`
    cut()           reset every connection
    refuse()        reset every connection, and refuse new ones
    lose_reply()    pass one request on, swallow its answer, reset the connection
    latency         seconds by which everything is delayed

A connection of which something was swallowed is broken for good: it stays silent after `pass_on` until one side
gives up, as after a real black hole.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Self

from servers import HOST, free_port

CHUNK = 65_536
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class _Connection:
    def __init__(self, client: asyncio.StreamWriter) -> None:
        self.client = client
        self.server: asyncio.StreamWriter | None = None
        self.first = b""
        self.silenced = False
        self.reply_is_lost = False

    def reset(self) -> None:
        for writer in (self.client, self.server):
            if writer is not None:
                sock: socket.socket | None = writer.get_extra_info("socket")
                if sock is not None and sock.fileno() >= 0:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                writer.transport.abort()


class Proxy:
    """`async with Proxy(redis.port) as proxy:` — `proxy.url` is where the gateway shall connect.

    `route` may choose another target port by the first bytes that a client sends.
    """

    def __init__(self, target: int, *, route: Callable[[bytes], int] | None = None) -> None:
        self.target = target
        self.port = free_port()
        self.latency = 0.0
        self.accepted = 0
        self.lost_replies = 0
        self._route = route
        self._swallowing = False
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._lose_reply_to: bytes | None = None
        self._connections: set[_Connection] = set()
        self._handlers: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}"

    @property
    def open_connections(self) -> int:
        return len(self._connections)

    async def pass_on(self) -> None:
        self._swallowing = False
        self._flowing.set()
        if self._listener is None:
            self._listener = await asyncio.start_server(self._accepted, HOST, self.port, limit=CHUNK)

    def black_hole(self) -> None:
        self._swallowing = True

    def hold(self) -> None:
        self._flowing.clear()

    def cut(self) -> None:
        for connection in list(self._connections):
            connection.reset()

    async def refuse(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
        self.cut()
        if listener is not None:
            await listener.wait_closed()

    def lose_reply(self, to: bytes = b"") -> None:
        """The answer to the next request that contains `to` is lost; once. `lost_replies` counts them."""
        self._lose_reply_to = to

    async def close(self) -> None:
        await self.refuse()
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    async def __aenter__(self) -> Self:
        await self.pass_on()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # One connection

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.create_task(self._handle(reader, writer), name="proxy-connection")
        self._handlers.add(task)
        task.add_done_callback(self._handlers.discard)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(writer)
        self._connections.add(connection)
        back: asyncio.Task[None] | None = None
        try:
            first = await reader.read(CHUNK)
            connection.first = first
            port = self._route(first) if self._route is not None else self.target
            from_server, connection.server = await asyncio.open_connection(HOST, port, limit=CHUNK)
            back = asyncio.create_task(self._backward(connection, from_server), name="proxy-replies")
            await self._forward(connection, reader, first)
        except OSError:
            pass
        finally:
            if back is not None:
                back.cancel()
                await asyncio.gather(back, return_exceptions=True)
            connection.reset()
            self._connections.discard(connection)

    async def _forward(self, connection: _Connection, reader: asyncio.StreamReader, data: bytes) -> None:
        assert connection.server is not None
        while data:
            if await self._passes(connection):
                if self._lose_reply_to is not None and self._lose_reply_to in data:
                    self._lose_reply_to, connection.reply_is_lost = None, True
                connection.server.write(data)
                await connection.server.drain()
            data = await reader.read(CHUNK)

    async def _backward(self, connection: _Connection, reader: asyncio.StreamReader) -> None:
        try:
            while data := await reader.read(CHUNK):
                if connection.reply_is_lost:
                    self.lost_replies += 1
                    break
                if await self._passes(connection):
                    connection.client.write(data)
                    await connection.client.drain()
        except OSError:
            pass
        if not connection.silenced:
            connection.reset()

    async def _passes(self, connection: _Connection) -> bool:
        if self.latency:
            await asyncio.sleep(self.latency)
        await self._flowing.wait()
        connection.silenced = connection.silenced or self._swallowing
        return not connection.silenced
