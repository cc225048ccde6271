"""This process at the fleet's blackboard: says how it is, and tells consoles that are open here what all have said.

Rule: nobody's events wait for this. Once in some seconds when nobody looks, once a second when somebody does; when the
broker is away, a console is told of this process alone.
"""

from __future__ import annotations

import asyncio
import contextlib

import msgspec
import structlog

from ...broker.fleet import ANYBODY, Fleet
from ...errors import BrokerUnavailable
from ...events import Entry
from ...hub import Hub
from ..context import Gateway
from .report import Self

CHANNEL = "console:fleet"
"""A channel of this process alone: what is dispatched there never was with the broker."""

EVENT_TYPE = "console.fleet"
LOOKED_AT, AT_REST = 1.0, 5.0
TICK = 0.25

log = structlog.get_logger(__name__)


class Board:
    def __init__(self, gateway: Gateway, fleet: Fleet) -> None:
        self._gateway = gateway
        self._fleet = fleet
        self._self = Self(gateway)
        self._watched: set[str] = set()
        self._lag = 0.0

    async def run(self) -> None:
        """Report for ever."""
        loop = asyncio.get_running_loop()
        told_at = -AT_REST
        while True:
            due = loop.time() + TICK
            await asyncio.sleep(TICK)
            self._lag = max(self._lag, loop.time() - due)
            if loop.time() - told_at >= (LOOKED_AT if self._watched or self._open_here() else AT_REST):
                told_at = loop.time()
                await self._turn()

    async def close(self) -> None:
        with contextlib.suppress(BrokerUnavailable):
            await self._fleet.forget(self._self.name)
        await self._fleet.close()

    async def watch(self, user_id: str, seconds: float) -> None:
        """Have all processes tell of a user's streams. Raises `BrokerUnavailable`."""
        await self._fleet.watch(user_id, seconds)
        self._watched.add(user_id)

    async def fleet(self) -> bytes:
        """All reports, as JSON; this process's own when the others cannot be asked, and why. Who asks is looking."""
        self._watched.add(ANYBODY)
        try:
            await self._fleet.watch(ANYBODY, AT_REST)
            reports, wrong = await self._fleet.reports(), None
        except BrokerUnavailable as error:
            reports = [self._self.report([], self._lag, closely=True)]
            wrong = f"the other processes cannot be asked: {error.detail}"
        return msgspec.json.encode({"error": wrong, "processes": [msgspec.Raw(report) for report in reports]})

    async def _turn(self) -> None:
        try:
            users = self._watched - {ANYBODY}
            report = self._self.report(users, self._lag, closely=bool(self._watched))
            self._lag = 0.0
            self._watched = set(await self._fleet.tell(self._self.name, report))
        except BrokerUnavailable as error:
            log.debug("console.not_told", detail=error.detail)
        if self._open_here():
            entry = Entry(CHANNEL, None, EVENT_TYPE, await self.fleet())
            for hub in self._open_here():
                hub.dispatch(entry)

    def _open_here(self) -> list[Hub]:
        hubs = [relay.hub for relay in self._gateway.relays]
        return [hub for hub in hubs if (channel := hub.channels.get(CHANNEL)) is not None and channel.members]
