"""Whether events arrive: at once, one by one, on every stream, and after a cut.

Several streams stand for the processes behind the address, since a balancer spreads them. An event that some hear and
others do not tells of a deaf process; one that comes when more has followed, of a buffer on the way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import GatewayError
from ..ids import parse_cursor
from . import mend
from .deployment import PROBE, Deployment, arrivals, numbers, settled
from .report import Check, finding, hint, ok, skipped
from .watch import Watch, time_of

PROBES = 5
EVERY = 0.15
"""Seconds between two probes."""
ARRIVE_WITHIN = 3.0
PADDED_WITHIN = 4.0
LATE = 1.0
CLUMPED = 0.3
"""Seconds of lateness that probes may have which come together, and were not sent together."""
ROUNDS = 3
"""Cuts and resumptions: each may lead to another process."""
MISSED = 2


@dataclass(slots=True)
class Delivery:
    """What became of the probes, by stream. `held` came only after more had followed, `deaf` not at all."""

    prompt: list[Watch]
    late: list[Watch]
    held: list[Watch]
    deaf: list[Watch]
    slowest: float = 0.0
    """Seconds, of those that came by themselves."""
    broker_ahead: float | None = None
    """Seconds by which event ids are ahead of the time at which the events were sent; None without ids."""


async def deliver(deployment: Deployment, watches: Sequence[Watch], held: Sequence[Watch]) -> Delivery:
    """Publish probes to streams that are open. Raises `GatewayError` when one is not taken."""
    sent = []
    for number in range(PROBES):
        sent.append(await deployment.publish(number))
        await asyncio.sleep(EVERY)

    def have_all(those: Sequence[Watch]) -> bool:
        return all(len(set(numbers(watch, deployment.run)) - {-1}) == PROBES for watch in those)

    await settled(lambda: have_all(watches), ARRIVE_WITHIN)
    by_themselves = [watch for watch in watches if have_all([watch]) and watch not in held]
    others = [watch for watch in watches if watch not in by_themselves]
    if others:
        await deployment.pad()
        await settled(lambda: have_all(others), PADDED_WITHIN)
    result = Delivery([], [], [], [])
    for watch in watches:
        times = {number: at for number, at in arrivals(watch, deployment.run) if number >= 0}
        if watch in others:
            (result.held if len(times) == PROBES else result.deaf).append(watch)
            continue
        late = [times[number] - sent[number] for number in range(PROBES)]
        result.broker_ahead = _ahead(watch, sent[-1])
        result.slowest = max(result.slowest, *late)
        clumped = len({round(at, 2) for at in times.values()}) <= 2 and max(late) > CLUMPED
        (result.late if max(late) > LATE or clumped else result.prompt).append(watch)
    return result


def _ahead(watch: Watch, sent_at: float) -> float | None:
    """Of the last probe's id, which holds the broker's time."""
    last = [arrival.event for arrival in watch.arrivals if arrival.event.type == PROBE][-1]
    id = parse_cursor(last.id or "")
    return None if id is None else id.ms / 1000 - time_of(sent_at)


def buffering(found: Delivery) -> Check:
    streams = sum(map(len, (found.prompt, found.late, found.held, found.deaf)))
    if found.held:
        says = f"on {len(found.held)} of {streams} streams events came only when some 200 KB more had followed"
        return finding("buffering", f"a proxy collects the stream before it passes it on: {says}", *mend.BUFFERING)
    if found.late:
        says = f"events came up to {found.slowest:.1f} s late, and together, though {EVERY * 1000:.0f} ms apart"
        return finding("buffering", f"something collects the stream on its way: {says}", *mend.BUFFERING)
    if not found.prompt:
        return skipped("buffering", "no event arrived; see delivery")
    return ok("buffering", f"{PROBES} events came one by one, within {1000 * found.slowest:.0f} ms")


def delivery(found: Delivery) -> Check:
    heard = len(found.prompt) + len(found.late) + len(found.held)
    if not found.deaf:
        return ok("delivery", f"each event reached all {heard} streams")
    if heard:
        says = f"{len(found.deaf)} of {heard + len(found.deaf)} streams heard nothing of what the others heard"
        return finding("delivery", f"a gateway process is deaf: {says}", *mend.DEAF)
    says = f"events are taken, and none of {len(found.deaf)} streams hears of them"
    return finding("delivery", says, *mend.NOWHERE, *mend.DEAF)


async def resume(deployment: Deployment, watch: Watch) -> Check:
    """Cut a stream and come back to it, several times: nothing may be lost, and nothing come twice."""
    if not watch.cursor:
        return hint("resume", "events have no ids: what is published while a client is away is lost to it",
                    "GATEWAY_RETENTION=on at the gateway, the default")  # fmt: skip
    cursor, number = watch.cursor, PROBES
    await watch.leave()
    for _ in range(ROUNDS):
        expected = range(number, number + MISSED + 1)
        for missed in expected[:-1]:
            await deployment.publish(missed)
        async with deployment.watch(cursor=cursor) as again:
            await _have_come(deployment, again, MISSED)
            await deployment.publish(expected[-1])
            got = await _have_come(deployment, again, len(expected))
            if got != list(expected) or "gateway.gap" in again.types:
                return await _not_resumed(deployment, again, got, expected, cursor)
            cursor, number = again.cursor, number + MISSED + 1
    return ok("resume", f"cut and back {ROUNDS} times with Last-Event-ID: nothing lost, nothing twice")


async def _have_come(deployment: Deployment, watch: Watch, count: int) -> list[int]:
    """The numbers that are there when there are so many, or no more come."""
    await settled(lambda: len(numbers(watch, deployment.run)) >= count, ARRIVE_WITHIN)
    return numbers(watch, deployment.run)


async def _not_resumed(
    deployment: Deployment, watch: Watch, got: list[int], expected: Sequence[int], cursor: str
) -> Check:
    if "gateway.gap" in watch.types:
        return finding("resume", "after a cut the gateway tells a gap: its history does not reach back", *mend.HISTORY)
    if missing := set(expected) - set(got):
        async with deployment.watch(cursor=cursor, in_query=True) as other:
            if await settled(lambda: set(expected) <= set(numbers(other, deployment.run)), ARRIVE_WITHIN):
                return finding("resume", "Last-Event-ID does not reach the gateway: what was missed is lost",
                               *mend.CURSOR)  # fmt: skip
        says = f"{len(missing)} of {len(expected)} events after a cut are lost"
        return finding("resume", says, *mend.HISTORY)
    return finding("resume", f"after a cut events came twice, or in another order ({len(got)} for {len(expected)})",
                   "tell us: this must not happen")  # fmt: skip


async def attempt(deployment: Deployment, watches: Sequence[Watch], held: Sequence[Watch]) -> Delivery | Check:
    """`deliver`, or what to say when a probe was not taken."""
    try:
        return await deliver(deployment, watches, held)
    except GatewayError as error:
        says = f"an event was not taken ({error.status} {error}), though the first was"
        return finding("delivery", says, "publishers are to send again with the same Idempotency-Key; see /readyz")
