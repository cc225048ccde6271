"""The long poll: a connection that collects what it is given, and ends as soon as there is something.

It is brought forward as a stream is, by the same relay, from the client's cursor; only its socket is a list here. So a
client that asks again and again, each time with the cursor it was given, gets what a stream would have carried.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import time
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from aiohttp import web

from ..auth.identity import Subscriber
from ..errors import BrokerUnavailable
from ..hub import Connection, Leg, State
from ..relay import Relay
from .context import Gateway

CATCH_UP_WITHIN = 2.0
"""Seconds for reading what there is already, however short a client would wait for what there is not."""


class _Collecting(Connection):
    """A connection without a socket: what it is given goes to a `Collected`, its guide."""

    __slots__ = ()

    def collect_in(self, collected: Collected) -> None:
        self.guide = collected
        self.attach(collected, chunked=False)

    def tell(self, event_type: str, data: Mapping[str, object], retry: int | None = None) -> None:
        if event_type == "gateway.gap" and isinstance(self.guide, Collected):
            self.guide.take_gap(data)

    def put(self, body: bytes) -> None:
        """The rest of the gateway's own words mean nothing to whoever gets an answer and the cursor with it."""


class Poll(_Collecting):
    """One that needs no legs."""

    __slots__ = ()


class PollLeg(_Collecting, Leg):
    """One of several, over several partitions."""

    __slots__ = ()


Parts: TypeAlias = "Sequence[tuple[Relay, Connection]]"
"""What a poll consists of, a `Poll` or several of `PollLeg`; the first is what it is known by."""


class Collected:
    """Sink and guide of a poll. `enough` is set when there is something to answer; `gap` is the first that was told."""

    def __init__(self) -> None:
        self.enough = asyncio.Event()
        self.gap: Mapping[str, object] | None = None
        self._parts: list[bytes] = []
        self._size = 0

    def write(self, data: bytes, /) -> None:
        self._parts.append(data)
        self._size += len(data)
        self.enough.set()

    def get_write_buffer_size(self) -> int:
        return self._size

    def take_gap(self, data: Mapping[str, object]) -> None:
        self.gap = self.gap or data
        self.enough.set()

    def wake(self) -> None:
        """There is more than it may hold, or the connection was closed."""
        self.enough.set()

    async def full(self) -> None:
        """What waits for room in a socket; here there will be none."""
        raise Full

    def events(self) -> bytes:
        """The lines as the items of a JSON array."""
        return b",".join(b"".join(self._parts).splitlines())


class Full(Exception):
    """There is more than one answer may hold."""


async def answer(gateway: Gateway, subscriber: Subscriber, parts: Parts, wait: float) -> web.Response:
    """What comes after the poll's cursor, as soon as there is something, or after `wait` seconds.

    Its parts are positioned. Raises `BrokerUnavailable` when there is nothing to say, not even where it stands.
    """
    began = asyncio.get_running_loop().time()
    left = subscriber.seconds_left(time.time())
    ends = began + (math.inf if left is None else max(left, 0))
    until = min(began + wait, ends)
    collected = Collected()
    for _, each in parts:
        assert isinstance(each, _Collecting)
        each.collect_in(collected)
    with contextlib.suppress(Full, TimeoutError):
        async with asyncio.timeout_at(min(max(until, began + CATCH_UP_WITHIN), ends)):
            for relay, each in parts:
                await relay.catch_up(each, collected.full)
    if all(each.close_reason is None for _, each in parts):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await collected.enough.wait()
    for relay, each in parts:
        relay.hub.flush()
        if each.state is State.LIVE and each.cursor is not None:
            each.cursor = max(each.cursor, relay.hub.tip)  # all up to there was dispatched, and written
    return _answered(gateway, parts, collected)


def _answered(gateway: Gateway, parts: Parts, collected: Collected) -> web.Response:
    relay, known_by = parts[0]
    cursor = known_by.last_event_id() if relay.broker.retention else None
    if relay.broker.retention and cursor is None:
        raise BrokerUnavailable("the history cannot be read now")
    events, gap = collected.events(), collected.gap
    gateway.metrics.polls.labels("events" if events else known_by.close_reason or "nothing").inc()
    said = {"cursor": None if cursor is None else str(cursor)} | ({} if gap is None else {"gap": gap})
    body = b'{"events":[%b],%b' % (events, json.dumps(said, separators=(",", ":")).encode()[1:])
    response = web.Response(body=body, content_type="application/json")
    if gateway.draining:
        response.force_close()  # so that the next one goes elsewhere
    return response
