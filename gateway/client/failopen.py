"""Publishing that never breaks its caller.

Rule: a call returns within its budget and raises nothing but its own cancellation. What could not be
published is counted and logged; nothing is queued for later. A try that fails, or takes half of the budget,
is made once more with the same idempotency key: a lost answer does not make a second event. A circuit breaker
makes calls return at once while nothing gets through.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from logging import ERROR, INFO, WARNING
from typing import Any
from uuid import UUID, uuid4

from .. import channels
from ..errors import BrokerUnavailable, GatewayError, InvalidEvent, NotAuthenticated, RateLimited
from ..events import SSEEvent
from .breaker import COOL_DOWN, Breaker
from .reporter import LOG_INTERVAL, Reporter
from .transport import Transport

BUDGET = 1.0
FIRST_TRY = 0.5
"""The part of the budget after which a try that hangs is given up for a second one, on a new connection."""

MIN_PAUSE, MAX_PAUSE = 0.02, 0.08
"""Seconds between a try that failed and the next, unless the other side asked for a pause."""


@dataclass(slots=True)
class Stats:
    """What became of the calls so far; each call counts in exactly one of the first four.

    published  taken by the gateway
    failed     refused, or not known to be taken
    skipped    not tried: the circuit breaker was open
    misused    not tried: no event, no user, or a malformed user id
    retried    second tries
    """

    published: int = 0
    failed: int = 0
    skipped: int = 0
    misused: int = 0
    retried: int = 0


class FailOpenPublisher:
    """An `SSEPublisherProtocol` over any transport. `budget` and `log_interval` are seconds."""

    def __init__(
        self,
        transport: Transport,
        *,
        budget: float = BUDGET,
        breaker: Breaker | None = None,
        log_interval: float = LOG_INTERVAL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not budget > 0:
            raise ValueError("budget: must be more than 0 seconds")
        self.stats = Stats()
        self._transport = transport
        self._budget = budget
        self._breaker = breaker or Breaker()
        self._clock = clock
        self._report = Reporter(clock, log_interval)

    async def publish(self, event: SSEEvent) -> None:
        """To the channel of the event's own user."""
        if self._usable(event):
            if event.user_id is None:
                hint = "publish() needs an event with a user_id; there are publish_to_user() and broadcast()"
                self._misused("no-user-id", hint, event_type=event.event_type)
            else:
                await self._deliver(channels.user(event.user_id), event)

    async def publish_to_user(self, user_id: UUID | str, event: SSEEvent) -> None:
        """To the channel of `user_id`, whoever the event is about."""
        if self._usable(event):
            try:
                channel = channels.user(user_id)
            except InvalidEvent as error:
                self._misused("bad-user-id", error.detail, event_type=event.event_type)
            else:
                await self._deliver(channel, event)

    async def broadcast(self, event: SSEEvent) -> None:
        """To everyone who is connected."""
        if self._usable(event):
            await self._deliver(channels.BROADCAST, event)

    async def close(self) -> None:
        """Release the running loop's connections. Publishing again makes new ones."""
        try:
            async with asyncio.timeout(self._budget):
                await self._transport.close()
        except Exception as error:
            self._report.change(WARNING, "sse.close_failed", reason=type(error).__name__)

    async def __aenter__(self) -> FailOpenPublisher:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _deliver(self, channel: str, event: SSEEvent) -> None:
        ticket = self._breaker.admit(self._clock())
        if ticket is None:
            self.stats.skipped += 1
            return
        try:
            await self._try_twice(channel, event, event.id or str(uuid4()))
        except Exception as error:
            self.stats.failed += 1
            self._log_failure(channel, event, error)
            self._judge(ticket, error)
        except BaseException:
            self._breaker.abandoned(ticket)
            raise
        else:
            self.stats.published += 1
            self._link_works(ticket)

    async def _try_twice(self, channel: str, event: SSEEvent, key: str) -> None:
        async with asyncio.timeout(self._budget) as budget:
            try:
                async with asyncio.timeout(self._budget * FIRST_TRY):
                    return await self._transport.send(channel, event, key)
            except TimeoutError:
                pass
            except BrokerUnavailable as error:
                asked = error.retry_after
                pause = random.uniform(MIN_PAUSE, MAX_PAUSE) if asked is None else asked
                if asyncio.get_running_loop().time() + pause >= (budget.when() or 0):
                    raise
                await asyncio.sleep(pause)
            self.stats.retried += 1
            await self._transport.send(channel, event, key)

    def _judge(self, ticket: int, error: Exception) -> None:
        """What a failure says about the next call: an answer about one event speaks for the link."""
        now = self._clock()
        match error:
            case RateLimited():
                opened = self._breaker.paused(ticket, now, error.retry_after or COOL_DOWN)
            case GatewayError() if not isinstance(error, BrokerUnavailable | NotAuthenticated):
                return self._link_works(ticket)
            case _:
                opened = self._breaker.failed(ticket, now)
        if opened:
            self._report.failure(WARNING, "sse.publishing_paused", _reason(error))

    def _link_works(self, ticket: int) -> None:
        if self._breaker.succeeded(ticket):
            self._report.change(INFO, "sse.publishing_resumed", skipped_so_far=self.stats.skipped)

    def _log_failure(self, channel: str, event: SSEEvent, error: Exception) -> None:
        may_pass = isinstance(error, BrokerUnavailable | TimeoutError | RateLimited)
        kind = channels.kind(channel)
        # The gateway's words may name the channel, which holds the user id.
        detail = error.detail.replace(channel, kind) if isinstance(error, GatewayError) else None
        self._report.failure(
            WARNING if may_pass else ERROR,
            "sse.publish_failed",
            _reason(error),
            detail=detail,
            event_type=event.event_type,
            channel=kind,
        )

    def _usable(self, event: Any) -> bool:
        if isinstance(event, SSEEvent):
            return True
        self._misused("not-an-event", f"an SSEEvent was expected, not {type(event).__name__}")
        return False

    def _misused(self, reason: str, detail: str, **fields: str) -> None:
        self.stats.misused += 1
        self._report.failure(ERROR, "sse.publish_misused", reason, detail=detail, **fields)


def _reason(error: Exception) -> str:
    match error:
        case GatewayError():
            return error.slug
        case TimeoutError():
            return "timeout"
    return type(error).__name__  # not its text, which may quote what it was given
