"""One resource per event loop, made on first use and disposed of before its loop ends.

A publisher is made once, at import perhaps, and used from whatever loop runs: a server's, one `asyncio.run`
after another in scripts and workers, a loop per thread. Connections belong to a loop and must be closed in
it. So each resource is held by an async generator that waits in its loop: whatever ends a loop properly, as
`asyncio.run` does, closes those (`loop.shutdown_asyncgens`), and with them the resource.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PerLoop(Generic[T]):
    """`make` is called in the loop that the resource is for, `dispose` is awaited in it."""

    def __init__(self, make: Callable[[], T], dispose: Callable[[T], Awaitable[object]]) -> None:
        self._make = make
        self._dispose = dispose
        self._held: dict[asyncio.AbstractEventLoop, tuple[T, AsyncGenerator[None, None]]] = {}

    async def get(self) -> T:
        """The running loop's resource. Does not wait for anything, so two callers never make two."""
        loop = asyncio.get_running_loop()
        if loop not in self._held:
            for ended in [other for other in list(self._held) if other.is_closed()]:
                del self._held[ended]
            value = self._make()
            lease = self._lease(loop, value)
            self._held[loop] = value, lease
            await anext(lease)
        return self._held[loop][0]

    async def close(self) -> None:
        """Dispose of the running loop's resource. Idempotent."""
        if (held := self._held.pop(asyncio.get_running_loop(), None)) is not None:
            await held[1].aclose()

    async def _lease(self, loop: asyncio.AbstractEventLoop, value: T) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            if loop in self._held and self._held[loop][0] is value:
                del self._held[loop]
            await self._dispose(value)
