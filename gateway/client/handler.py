"""From domain events to SSE events: a table of types and functions, and no framework.

    handler = SSEEventHandler(publisher, {
        AccountsSynced: lambda e: SSEEvent("sync.accounts.completed", e.user_id, {"account_count": e.count}),
        MaintenancePlanned: lambda e: Broadcast(SSEEvent("maintenance.planned", data={"at": e.at})),
    })
    await handler(domain_event)

Rule: what goes to everyone says so. An event without a user_id is a mistake that is logged, not a broadcast:
a forgotten user id must not show one user's data to all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from logging import ERROR
from pathlib import Path
from traceback import extract_tb
from typing import Any, TypeAlias

from ..errors import InvalidEvent
from ..events import SSEEvent
from ..publisher import SSEPublisherProtocol
from .reporter import Reporter


@dataclass(frozen=True, slots=True)
class Broadcast:
    """An event for everyone who is connected."""

    event: SSEEvent


Outgoing: TypeAlias = SSEEvent | Broadcast
Mapper: TypeAlias = Callable[[Any], Outgoing | Iterable[Outgoing] | None]


@dataclass(slots=True)
class HandlerStats:
    """Domain events so far; each counts once.

    mapped   their SSE events, if any, were handed to the publisher
    ignored  no entry for their type
    failed   their function raised, or returned something that is no event
    """

    mapped: int = 0
    ignored: int = 0
    failed: int = 0


class SSEEventHandler:
    """Publishes what `mapping` makes of a domain event. The entry of its nearest base class applies.

    A function returns an `SSEEvent` (for its user), a `Broadcast`, several of these (published in order, or
    none of them when one cannot be made), or None for nothing. It may be a generator, but not `async`.
    """

    def __init__(self, publisher: SSEPublisherProtocol, mapping: Mapping[type, Mapper]) -> None:
        self.stats = HandlerStats()
        self._publisher = publisher
        self._mapping = dict(mapping)
        self._report = Reporter(time.monotonic)

    async def handle(self, domain_event: object) -> None:
        """Never raises, and takes no longer than the publisher's budget for each event to publish."""
        mapper = self._mapper(type(domain_event))
        if mapper is None:
            self.stats.ignored += 1
            return
        try:
            outgoing = _listed(mapper(domain_event))
        except Exception as error:
            self.stats.failed += 1
            self._log_failure(domain_event, error)
            return
        self.stats.mapped += 1
        for item in outgoing:
            if isinstance(item, Broadcast):
                await self._publisher.broadcast(item.event)
            else:
                await self._publisher.publish(item)

    __call__ = handle

    def _mapper(self, kind: type) -> Mapper | None:
        return next((self._mapping[base] for base in kind.__mro__ if base in self._mapping), None)

    def _log_failure(self, domain_event: object, error: Exception) -> None:
        self._report.failure(
            ERROR,
            "sse.mapping_failed",
            type(error).__name__,
            # Other texts may quote the domain event; where it was raised says enough to find it.
            detail=str(error) if isinstance(error, InvalidEvent | _NoEvent) else None,
            at=_origin(error),
            domain_event=type(domain_event).__qualname__,
        )


class _NoEvent(TypeError):
    """A mapping function returned something that cannot be published."""


def _listed(result: object) -> list[Outgoing]:
    if result is None:
        return []
    outgoing: list[Outgoing] = []
    for item in result if isinstance(result, Iterable) else [result]:
        if not isinstance(item, SSEEvent | Broadcast):
            raise _NoEvent(f"expected SSEEvent or Broadcast, several, or None; got {type(item).__name__}")
        outgoing.append(item)
    return outgoing


def _origin(error: Exception) -> str:
    """`file.py:line` of the innermost frame."""
    innermost = extract_tb(error.__traceback__)[-1]
    return f"{Path(innermost.filename).name}:{innermost.lineno}"
