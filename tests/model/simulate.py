"""Plays scripts, and makes the shortest one of those that fail."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from model import virtual_time
from model.script import act, from_seed
from model.setup import Setup
from model.world import World, sizes

SHRINKING_RUNS = 500


@dataclass
class Played:
    """`blamed` is what should not have been; the rest is counted by client (from 0) and by process (from 1)."""

    blamed: list[str] = field(default_factory=list)
    events: list[int] = field(default_factory=list)
    gaps: list[int] = field(default_factory=list)
    heals: list[int] = field(default_factory=list)


def play(setup: Setup, lines: Sequence[str]) -> Played:
    """Run a script, and then mend everything and see to it that everybody gets what is due."""
    try:
        return virtual_time.run(_play(setup, lines))
    except virtual_time.Stuck as stuck:
        return Played([str(stuck)])


async def _play(setup: Setup, lines: Sequence[str]) -> Played:
    with sizes(setup) as logs:
        world = World(setup)
        await world.start()
        for line in lines:
            await act(world, line)
            if world.blamed:
                break
        else:
            await world.settle()
            await world.leave_all()
        await world.stop()
        world.blamed += [f"logged: {log}" for log in logs if log["log_level"] == "error"]
    ledgers = [client.ledger for client in world.clients]
    heals = [0, *(process.relay.healing.heals for process in world.processes)]
    return Played(world.blamed, [ledger.events for ledger in ledgers], [ledger.gaps for ledger in ledgers], heals)


def played(script: str, **setup: Any) -> Played:
    """Play a script that must be played as it should be; `setup` has the sizes of the world, as in `Setup`."""
    lines = [line.strip() for line in script.strip().splitlines()]
    result = play(Setup(**setup), lines)
    assert not result.blamed, "\n".join(["", *lines, "", *result.blamed])
    return result


def shrunk(setup: Setup, lines: Sequence[str]) -> list[str]:
    """A shorter script that fails in the same way: without whatever can be left out (delta debugging)."""
    kind, lines = _kind(play(setup, lines)), list(lines)
    runs, before = 0, len(lines) + 1
    while len(lines) < before:
        before, size = len(lines), max(len(lines) // 2, 1)
        while size:
            start = 0
            while start < len(lines) and runs < SHRINKING_RUNS:
                without = _waits_joined(lines[:start] + lines[start + size :])
                runs += 1
                if _kind(play(setup, without)) == kind:
                    lines = without
                else:
                    start += size
            size //= 2
    return lines


def report(seed: int) -> str | None:
    """None when the seed's script is played as it should be; else the shortest script that is not."""
    setup, lines = from_seed(seed)
    if not play(setup, lines).blamed:
        return None
    lines = shrunk(setup, lines)
    return "\n".join(
        [
            f"seed {seed}, as a script of {len(lines)} lines with {setup}:",
            "",
            *(f"    {line}" for line in lines),
            "",
            *(f"    # {blamed}" for blamed in play(setup, lines).blamed[:3]),
            "",
            f"again: MODEL_FIRST_SEED={seed} MODEL_SEEDS=1 pytest tests/model/test_seeds.py",
        ]
    )


def _kind(played: Played) -> str:
    """What went wrong, whoever it happened to and when."""
    return re.sub(r"[\d.:-]+|user\S+|topic\S+|broadcast", "", played.blamed[0]) if played.blamed else ""


def _waits_joined(lines: Sequence[str]) -> list[str]:
    joined: list[str] = []
    for line in lines:
        if line.startswith("wait ") and joined and joined[-1].startswith("wait "):
            line = f"wait {round(float(joined.pop()[5:]) + float(line[5:]), 4)}"
        joined.append(line)
    return joined
