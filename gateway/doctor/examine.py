"""The whole examination, in the order in which one thing explains the next."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack

from ..errors import GatewayError
from . import answer, delivery, inside, network, opening, quiet
from .deployment import Deployment
from .report import Check, Outcome, finding, skipped
from .watch import Watch

BESIDES = 15.0
"""Seconds that all but the waiting may take."""


class Examination:
    """`origin` is a web page's; `connections` stand for the processes; `idle` is how long the quiet stream is held.

    phase, done  what is looked at, and for how many seconds the quiet stream was
    """

    def __init__(
        self,
        deployment: Deployment,
        tell: Callable[[Check], object],
        *,
        origin: str | None,
        connections: int,
        idle: float,
    ) -> None:
        self.phase = "the way there"
        self.checks: list[Check] = []
        self._deployment = deployment
        self._tell = tell
        self._origin = origin
        self._connections = connections
        self._idle = idle
        self._quiet: Watch | None = None

    @property
    def done(self) -> float:
        return 0.0 if self._quiet is None else max(0.0, min(quiet.waited(self._quiet), self._idle))

    @property
    def is_well(self) -> bool:
        return not any(check.outcome is Outcome.FINDING for check in self.checks)

    async def run(self) -> None:
        """Raises `CannotExamine`."""
        deployment = self._deployment
        self._add(*await network.examine(deployment))
        self.phase = "health"
        self._add(*await inside.health(deployment))
        self._add(inside.token(deployment, self._idle + BESIDES))
        self._add(published := await inside.publishing(deployment))
        self.phase = "opening streams"
        async with AsyncExitStack() as stack:
            self._quiet = held_quiet = await stack.enter_async_context(deployment.watch(quiet=True))
            browser = await stack.enter_async_context(deployment.watch(gzip=True))
            fleet = await stack.enter_async_context(deployment.watches(self._connections))
            await self._streams(browser, fleet, can_publish=published.outcome is Outcome.OK)
            self.phase = "waiting, whether a quiet stream is cut"
            self._add(await quiet.examine(held_quiet, self._idle))

    async def _streams(self, browser: Watch, fleet: list[Watch], *, can_publish: bool) -> None:
        held = await opening.wait(self._deployment, [browser, *fleet], can_publish=can_publish)
        self._add(opening.check(fleet, [watch for watch in held if watch in fleet]))
        usable = [watch for watch in fleet if watch.opened_at is not None and watch.end is None]
        if browser.opened_at is not None:
            self._add(*answer.headers(browser), answer.coding(browser))
        if usable and can_publish:
            await self._delivery(usable, held)
        else:
            why = "events cannot be published" if usable else "there is no stream"
            self._add(*(skipped(name, why) for name in ("buffering", "delivery", "resume")))
            self._add(answer.clocks(browser if browser.opened_at is not None else usable[0], None))
        self.phase = "web pages"
        self._add(await answer.cors(self._deployment, self._origin))

    async def _delivery(self, streams: list[Watch], held: list[Watch]) -> None:
        self.phase = "delivery"
        found = await delivery.attempt(self._deployment, streams, held)
        if isinstance(found, Check):
            self._add(found)
            return
        self._add(delivery.buffering(found), delivery.delivery(found), answer.clocks(streams[0], found.broker_ahead))
        self.phase = "resuming"
        if found.held or found.late or found.deaf:
            self._add(skipped("resume", "not before events arrive as they should"))
            return
        try:
            self._add(await delivery.resume(self._deployment, streams[0]))
        except GatewayError as error:
            self._add(finding("resume", f"an event was not taken ({error.status} {error})"))

    def _add(self, *checks: Check) -> None:
        for check in checks:
            self.checks.append(check)
            self._tell(check)
