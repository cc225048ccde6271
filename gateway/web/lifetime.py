"""The clock's reasons to end a stream: its token's end, and the age at which connections are spread anew over pods.

One timer at a time for each stream, in one context for all: two of asyncio's, with what they hold, take 1 KB.
"""

from __future__ import annotations

import asyncio
import contextvars
import random

from ..hub import CloseReason, Connection

EXPIRING_NOTICE = 30.0
TOKENS_SPREAD = 3.0
"""Seconds by which a stream ends before its token, at most: what began together does not end together."""

_CONTEXT = contextvars.Context()


class Lifetime:
    """`left` is the seconds of the token, None for never; `age` those of GATEWAY_MAX_CONNECTION_AGE, 0 for any."""

    __slots__ = ("_connection", "_ends_at", "_reason", "_timer", "_told")

    def __init__(self, connection: Connection, left: float | None, age: float) -> None:
        self._connection = connection
        self._timer: asyncio.TimerHandle | None = None
        ends: list[tuple[float, CloseReason]] = []
        if left is not None:
            ends.append((max(left - random.uniform(0, TOKENS_SPREAD), 0), CloseReason.EXPIRED))
        if age:
            ends.append((age * random.uniform(0.5, 1.5), CloseReason.AGE))
        if not ends:
            return
        loop = asyncio.get_running_loop()
        seconds, self._reason = min(ends)
        self._ends_at = loop.time() + seconds
        if left is not None and (notice := max(left - EXPIRING_NOTICE, 0)) < seconds:
            self._told = round(max(min(left, EXPIRING_NOTICE), 0))
            self._timer = loop.call_later(notice, self._tell, context=_CONTEXT)
        else:
            self._timer = loop.call_at(self._ends_at, self._end, context=_CONTEXT)

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tell(self) -> None:
        self._connection.say("gateway.expiring", {"seconds": self._told})
        self._timer = asyncio.get_running_loop().call_at(self._ends_at, self._end, context=_CONTEXT)

    def _end(self) -> None:
        self._connection.close(self._reason)
