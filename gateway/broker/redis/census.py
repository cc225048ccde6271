"""Counting with all other processes: one owner task, one call under way at a time.

Newcomers and leavers that come while a call is under way go together in the next one. Between, twice a second, the
process gives a sign of life (`pulse.py`). When a call fails, the process is *alone*: it decides by its own counts
until a sign of life succeeds, and then tells them all anew. So it does when it was taken for dead, when Redis lost
everything, and now and then.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Awaitable
from itertools import islice
from typing import Any, NamedTuple

import structlog
from redis.exceptions import RedisError

from ...errors import BrokerUnavailable
from ..here import Here
from ..registry import Overloaded, SentAway, Verdict
from .examine import explained
from .publisher import script
from .pulse import Pulse
from .shards import Shard, Shards

PULSE_EVERY = 0.5
TELL_ANEW_EVERY = 600.0
KEPT_MS = 3_600_000
"""What nobody tells again for so long is forgotten: the counts of processes that died, of users who never returned."""
LEAVERS_WAIT = 0.05
RETRY_AFTER = 0.25
USERS_PER_CALL = 256
CLOSED = "closed"

_ADMITTED = 1
_VERDICTS = {_ADMITTED: Verdict.ADMITTED, 0: Verdict.FULL, -1: Verdict.VOID, -2: Verdict.KEPT_AWAY}

log = structlog.get_logger(__name__)


class _Asked(NamedTuple):
    """What waits for the answer about one user."""

    newcomers: list[tuple[str | None, asyncio.Future[Verdict]]]
    counts: list[asyncio.Future[int]]


class Census:
    """`ask` and `count` wait for the others' word; without it `ask` goes by `here`, and `count` raises.

    `alone` says why they cannot be asked.
    """

    def __init__(self, shards: Shards, here: Here, *, timeout: float) -> None:
        client, keys = shards.common
        self.pulse = Pulse(client, keys, here)
        self.alone: str | None = None
        self._shards = shards
        self._here = here
        self._timeout = timeout
        self._report_script = client.register_script(script("known", "report"))
        self._asked: defaultdict[str, _Asked] = defaultdict(lambda: _Asked([], []))
        self._stale: dict[str, None] = {}
        self._pulse_at = self._anew_at = 0.0
        self._wake: asyncio.Future[None] | None = None
        self._leaving: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self, sent_away: SentAway, overloaded: Overloaded) -> None:
        self._sent_away = sent_away
        self._overloaded = overloaded
        self._task = asyncio.create_task(self._own(), name="redis-census")

    async def close(self) -> None:
        self.alone = CLOSED
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._leaving is not None:
            self._leaving.cancel()
        self._answer_alone()
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            await self._within(self.pulse.end())

    def health(self) -> str | None:
        return self.failed() or self.alone

    def failed(self) -> str | None:
        ended = self._task is not None and self._task.done() and self.alone != CLOSED
        return "the census has ended" if ended else None

    async def ask(self, user_id: str, ticket: str | None) -> Verdict:
        if self.alone is not None:
            return self._decided_alone(user_id, ticket)
        answer: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self._asked[user_id].newcomers.append((ticket, answer))
        self._wake_up()
        try:
            return await answer
        except asyncio.CancelledError:
            if answer.done() and not answer.cancelled() and answer.result() is Verdict.ADMITTED:
                self.left(user_id)  # it was admitted, and will never know
            raise

    async def count(self, user_id: str) -> int:
        if self.alone is not None:
            raise BrokerUnavailable("the other processes cannot be asked")
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._asked[user_id].counts.append(answer)
        self._wake_up()
        return await answer

    def left(self, user_id: str) -> None:
        """Nobody waits for this, so it waits for more of its like."""
        self._here.leave(user_id)
        self._stale[user_id] = None
        if self._leaving is None:
            self._leaving = asyncio.get_running_loop().call_later(LEAVERS_WAIT, self._leavers_waited)

    def pulse_soon(self) -> None:
        self._pulse_at = 0.0
        self._wake_up()

    # The owner

    def _leavers_waited(self) -> None:
        self._leaving = None
        self._wake_up()

    def _wake_up(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def _own(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            try:
                if clock() >= self._pulse_at:
                    self._pulse_at = clock() + PULSE_EVERY
                    await self._within(self._pulse())
                elif self._asked or (self._stale and self._leaving is None):
                    await self._within(self._report())
                else:
                    await self._rest(self._pulse_at)
            except (RedisError, OSError, TimeoutError) as error:
                self._lost(explained(error))
            except Exception as error:  # an owner that dies leaves every newcomer waiting
                log.exception("registry.failed")
                self._lost(repr(error))
            if self.alone is not None:
                await asyncio.sleep(RETRY_AFTER)
                self._pulse_at = 0.0

    async def _within(self, call: Awaitable[Any]) -> None:
        async with asyncio.timeout(self._timeout):
            await call

    async def _rest(self, until: float) -> None:
        loop = asyncio.get_running_loop()
        self._wake = loop.create_future()
        timer = loop.call_at(until, self._wake_up)
        try:
            await self._wake
        finally:
            timer.cancel()
            self._wake = None

    def _lost(self, reason: str) -> None:
        if self.alone is None:
            log.warning("registry.alone", reason=reason)
        self.alone = reason
        self._answer_alone()

    def _answer_alone(self) -> None:
        asked = list(self._asked.items())
        self._asked.clear()
        for user_id, (newcomers, counts) in asked:
            for ticket, answer in newcomers:
                if not answer.done():
                    try:
                        answer.set_result(self._decided_alone(user_id, ticket))
                    except BrokerUnavailable as error:
                        answer.set_exception(error)
            for count in counts:
                if not count.done():
                    count.set_exception(BrokerUnavailable("the other processes cannot be asked"))

    def _decided_alone(self, user_id: str, ticket: str | None) -> Verdict:
        if ticket is not None and not self._here.seconds_away(user_id):
            raise BrokerUnavailable("whether the ticket is still good is not known")
        return self._here.admit(user_id)

    async def _pulse(self) -> None:
        now = asyncio.get_running_loop().time()
        reborn = await self.pulse.beat(self._sent_away, self._overloaded())
        if reborn or self.alone is not None or now > self._anew_at:
            self._stale.update(dict.fromkeys(self._here.streams))
            self._anew_at = now + TELL_ANEW_EVERY
        if self.alone is not None:
            log.info("registry.joined", name=self.pulse.name.decode(), users=len(self._stale))
            self.alone = None

    # Counts

    async def _report(self) -> None:
        """What was taken goes in one call to each shard that has users of it."""
        taken: defaultdict[Shard, dict[str, _Asked]] = defaultdict(dict)
        for user_id, asked in self._take().items():
            taken[self._shards.of(user_id)][user_id] = asked
        if len(taken) == 1:
            ((shard, some),) = taken.items()
            return await self._report_to(shard, some)
        ended = await asyncio.gather(*(self._report_to(*each) for each in taken.items()), return_exceptions=True)
        for error in ended:
            if error is not None:
                raise error

    async def _report_to(self, shard: Shard, asked: dict[str, _Asked]) -> None:
        args: list[Any] = [self.pulse.name, *self.pulse.others, self._here.limit, KEPT_MS]
        args += [self._line(user_id, newcomers) for user_id, (newcomers, _) in asked.items()]
        keys = [shard.keys.registry(user_id) for user_id in asked]
        try:
            answers = await self._report_script(keys=keys, args=args, client=shard.client)
        except BaseException:
            self._stale.update(dict.fromkeys(asked))  # whether it was told is not known
            for user_id, (newcomers, counts) in asked.items():
                self._asked[user_id].newcomers.extend(newcomers)
                self._asked[user_id].counts.extend(counts)
            raise
        for (user_id, waiting), (total, away, *verdicts) in zip(asked.items(), answers, strict=True):
            self._answered(user_id, waiting, total, verdicts)
            if away:
                self._here.keep_away(user_id, away / 1000)
                if self._here.streams[user_id]:  # they came while this process was alone
                    self._sent_away(user_id)

    def _take(self) -> dict[str, _Asked]:
        """The next call's users: those for whom somebody waits, then those of whom there is only something to tell."""
        taken = {user_id: self._asked.pop(user_id) for user_id in list(islice(self._asked, USERS_PER_CALL))}
        for user_id in list(islice(self._stale, USERS_PER_CALL - len(taken))):
            taken.setdefault(user_id, _Asked([], []))
        for user_id in taken:
            self._stale.pop(user_id, None)
        return taken

    def _line(self, user_id: str, newcomers: list[tuple[str | None, asyncio.Future[Verdict]]]) -> str:
        held = str(self._here.streams[user_id])
        return " ".join([held, *(ticket or "-" for ticket, _ in newcomers)]) if newcomers else held

    def _answered(self, user_id: str, waiting: _Asked, total: int, verdicts: list[int]) -> None:
        for (_, answer), verdict in zip(waiting.newcomers, verdicts, strict=True):
            if answer.done():  # the client left meanwhile; it may have been counted
                self._stale[user_id] = None
                continue
            if verdict == _ADMITTED:
                self._here.streams[user_id] += 1
            answer.set_result(_VERDICTS[verdict])
        for count in waiting.counts:
            if not count.done():
                count.set_result(total)
