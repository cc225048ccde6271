"""What sees to it that one connection is brought forward, and ends: a task only while there is something to wait for.

An idle stream is at the tip, and waits for nothing. A task that slept for it would take 3 KB with its frames.
"""

from __future__ import annotations

import asyncio

import structlog

from .hub import CloseReason, Connection
from .relay import Relay

log = structlog.get_logger(__name__)


class Guide:
    """The base of what carries a stream, for the relay's side of it.

    It is the connection's guide from `begin` until `ended` was called, or until `forget`.
    """

    __slots__ = ("_positioned", "_task", "_waiting", "connection", "relay")

    def __init__(self, relay: Relay, connection: Connection) -> None:
        self.relay = relay
        self.connection = connection
        self._task: asyncio.Task[None] | None = None
        self._positioned = self._waiting = False

    def ended(self, reason: CloseReason) -> None:
        """The connection is to end now, for this reason. It may have been brought to its end within this call."""
        raise NotImplementedError

    async def drained(self) -> None:
        """Wait until what is buffered is below the low-water mark; may be cancelled, and called again."""
        raise NotImplementedError

    async def open(self) -> None:
        """Have its position found; waits as long as the broker is away, may be cancelled, and called again."""
        await self.relay.open(self.connection)

    def opened(self) -> None:
        """Its position was found, after it had begun."""

    def begin(self, *, positioned: bool) -> None:
        """The connection is attached. `positioned` is False when the relay has not found its position yet."""
        self._positioned = positioned
        self.connection.guide = self
        if not (positioned and self._is_live()):
            self.wake()

    def wake(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._look_after())
        elif self._waiting and self.connection.close_reason is not None and asyncio.current_task() is not self._task:
            self._task.cancel()  # it would wait for as long as the broker is away, or the client takes nothing

    def forget(self) -> None:
        """The client has left; `ended` will not be called."""
        self.connection.guide = None
        if self._task is not None:
            self._task.cancel()

    def _is_live(self) -> bool:
        try:
            return self.relay.is_live(self.connection)
        except Exception:
            return False  # the task will come upon the same, and end the stream

    async def _look_after(self) -> None:
        reason = await self._brought_forward()
        self._task = None
        if reason is not None:
            self.connection.guide = None
            self.ended(reason)

    async def _brought_forward(self) -> CloseReason | None:
        """To the tip, or to the end of the stream: why it ends."""
        connection = self.connection
        self._waiting = True
        try:
            if not self._positioned and connection.close_reason is None:
                await self.open()
                self._positioned = True
                connection.put_position()
                self.opened()
            await self.relay.catch_up(connection, self.drained)
        except asyncio.CancelledError:
            if connection.guide is None or connection.close_reason is None:
                raise
        except Exception:  # a response has begun: there is no status left to answer with
            log.exception("stream.failed")
            return CloseReason.FAILED
        finally:
            self._waiting = False
        return connection.close_reason
