"""Whether a stream on which nothing is published stays: what cuts it is found only by waiting."""

from __future__ import annotations

from . import mend
from .deployment import settled
from .report import Check, finding, hint, ok, skipped
from .watch import Watch, now

HEARTBEATS_DUE = 20.0
"""Seconds after which a heartbeat should have come: one is sent every 15 by default."""
NEARLY = 0.5
"""Seconds that two moments may be apart which are one."""


def waited(watch: Watch) -> float:
    """Seconds for which the stream has been open so far."""
    return (watch.end.at if watch.end is not None else now()) - (watch.opened_at or now())


async def examine(watch: Watch, idle: float) -> Check:
    """Until it has been open for so long, or ends."""
    if watch.opened_at is None:
        return skipped("idle", f"the quiet stream did not open ({watch.refused or 'see buffering'})")
    await settled(lambda: watch.end is not None or waited(watch) >= idle, idle + 5)
    if watch.end is None:
        if idle >= HEARTBEATS_DUE and not watch.heartbeats:
            says = f"quiet for {idle:.0f} s, and no heartbeat: clients cannot tell it from a dead one"
            return hint("idle", says, *mend.HEARTBEAT)
        beats = f"{watch.heartbeats} heartbeat{'' if watch.heartbeats == 1 else 's'}"
        return ok("idle", f"a quiet stream stayed for {idle:.0f} s, with {beats}")
    if said := {"gateway.expiring", "gateway.reconnect"} & set(watch.types):
        says = f"the gateway itself ended the quiet stream after {waited(watch):.0f} s ({', '.join(said)})"
        return hint("idle", says, "take a token that lives longer, or look again when no process drains")
    silence = watch.end.at - (watch.last_byte_at or watch.opened_at or watch.end.at)
    cut = f"a quiet stream was cut after {waited(watch):.1f} s ({watch.end.why})"
    if waited(watch) - silence > NEARLY and watch.heartbeats:
        return finding("idle", f"{cut}, {silence:.1f} s after a heartbeat: its whole time is limited", *mend.LIMIT)
    return finding("idle", f"{cut}: silence is not borne for longer", *mend.SILENCE)
