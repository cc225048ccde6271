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
from collections.abc import Mapping

from aiohttp import web

from ..auth.identity import Subscriber
from ..errors import BrokerUnavailable
from ..hub import Connection, State
from ..ids import START
from ..relay import Relay
from .context import Gateway

CATCH_UP_WITHIN = 2.0
"""Seconds for reading what there is already, however short a client would wait for what there is not."""


class Poll(Connection):
    """A connection without a socket. `gap` is the first that it was told."""

    __slots__ = ("gap",)

    gap: Mapping[str, object] | None

    def collect_in(self, collected: Collected) -> None:
        self.gap = None
        self.guide = collected
        self.attach(collected, chunked=False)

    def tell(self, event_type: str, data: Mapping[str, object], retry: int | None = None) -> None:
        if event_type == "gateway.gap" and self.gap is None:
            self.gap = data
            self.wake()

    def put(self, body: bytes) -> None:
        """The rest of the gateway's own words mean nothing to whoever gets an answer and the cursor with it."""


class Collected:
    """Sink and guide of a `Poll`. `enough` is set when there is something to answer."""

    def __init__(self) -> None:
        self.enough = asyncio.Event()
        self._parts: list[bytes] = []
        self._size = 0

    def write(self, data: bytes, /) -> None:
        self._parts.append(data)
        self._size += len(data)
        self.enough.set()

    def get_write_buffer_size(self) -> int:
        return self._size

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


async def answer(gateway: Gateway, subscriber: Subscriber, relay: Relay, poll: Poll, wait: float) -> web.Response:
    """What comes after the poll's cursor, as soon as there is something, or after `wait` seconds.

    The poll is positioned. Raises `BrokerUnavailable` when there is nothing to say, not even where it stands.
    """
    began = asyncio.get_running_loop().time()
    left = subscriber.seconds_left(time.time())
    ends = began + (math.inf if left is None else max(left, 0))
    until = min(began + wait, ends)
    collected = Collected()
    poll.collect_in(collected)
    with contextlib.suppress(Full, TimeoutError):
        async with asyncio.timeout_at(min(max(until, began + CATCH_UP_WITHIN), ends)):
            await relay.catch_up(poll, collected.full)
    if poll.close_reason is None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await collected.enough.wait()
    relay.hub.flush()
    if poll.state is State.LIVE and poll.cursor is not None:
        poll.cursor = max(poll.cursor, relay.hub.tip)  # all up to there was dispatched, and written
    return _answered(gateway, relay, poll, collected)


def _answered(gateway: Gateway, relay: Relay, poll: Poll, collected: Collected) -> web.Response:
    cursor, retention = poll.cursor, relay.broker.retention
    if retention and cursor in (None, START):
        raise BrokerUnavailable("the history cannot be read now")
    events = collected.events()
    gateway.metrics.polls.labels("events" if events else poll.close_reason or "nothing").inc()
    said = {"cursor": str(cursor) if retention else None} | ({} if poll.gap is None else {"gap": poll.gap})
    body = b'{"events":[%b],%b' % (events, json.dumps(said, separators=(",", ":")).encode()[1:])
    response = web.Response(body=body, content_type="application/json")
    if gateway.draining:
        response.force_close()  # so that the next one goes elsewhere
    return response
