"""Rounds of measurements to a table: medians, noise, and what went wrong.

What was measured while other programs used much of a core is left out of the medians,
never out of the count of losses. A figure that a server did not report is a dash.
"""

from __future__ import annotations

import platform
import statistics
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness import Result

NOISE = 0.25  # of a core used by other programs: a round above it tells little
LABEL, COLUMN = 36, 12

Rounds = Mapping[str, Sequence[Result]]
"""The results by server; the n-th of every server are of the same round."""

FAULTS = (
    "lost",
    "duplicates",
    "out_of_order",
    "refused",
    "unanswered",
    "foreign",
    "unparsed",
    "closed",
    "control_events",
)


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: a figure of the results, in the unit it is shown in."""

    label: str
    key: str
    scale: float = 1.0
    digits: int = 1


def quiet(rounds: Rounds) -> dict[str, list[Result]]:
    """The rounds in which the machine was ours for every server; all of them if there are none."""
    together = list(zip(*rounds.values(), strict=True))
    kept = [group for group in together if all(result["others_cpu_share"] <= NOISE for result in group)]
    return {name: [group[i] for group in kept or together] for i, name in enumerate(rounds)}


def quiet_each(rounds: Rounds) -> dict[str, list[Result]]:
    """Each server's quiet rounds: enough for its own medians, not for ratios."""
    return {name: quiet({name: results})[name] for name, results in rounds.items()}


def median(results: Iterable[Result], key: str) -> float | None:
    """None when no result has it."""
    values: list[float] = [result[key] for result in results if key in result]
    return statistics.median(values) if values else None


def table(title: str, rows: Iterable[Row], rounds: Rounds) -> str:
    """A line per figure and a column per server."""
    kept = quiet_each(rounds)
    counts = sorted(len(results) for results in kept.values())
    of = f"{counts[-1]}" if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"
    lines = [f"{title}; medians of {of} of {max(len(results) for results in rounds.values())} rounds"]
    lines.append(" " * LABEL + "".join(f"{name:>{COLUMN}}" for name in rounds))
    for row in rows:
        cells = [median(kept[name], row.key) for name in rounds]
        if any(cell is not None for cell in cells):
            lines.append(f"{row.label:{LABEL}}" + "".join(_cell(cell, row) for cell in cells))
    for fault in FAULTS:
        sums = [_sum(rounds[name], fault) for name in rounds]
        if fault == "lost" or any(sums):
            lines.append(f"{fault.replace('_', ' '):{LABEL}}" + "".join(f"{n:{COLUMN},.0f}" for n in sums))
    return "\n".join(lines)


def complaints(name: str, rounds: Rounds, allowed: Collection[str] = ()) -> list[str]:
    """What went wrong, a sentence per server; nothing when the run was clean."""
    found = []
    for server, results in rounds.items():
        sums = {fault: _sum(results, fault) for fault in FAULTS if fault not in allowed}
        wrong = [f"{n:,.0f} {fault.replace('_', ' ')}" for fault, n in sums.items() if n]
        if wrong:
            found.append(f"{name}: {server}: {', '.join(wrong)}")
    return found


def medians(rows: Iterable[Row], rounds: Rounds) -> dict[str, dict[str, float]]:
    """By server and key, of each server's quiet rounds."""
    kept, keys = quiet_each(rounds), [row.key for row in rows]
    return {
        name: {key: value for key in keys if (value := median(results, key)) is not None}
        for name, results in kept.items()
    }


def machine() -> dict[str, str]:
    """What the figures were taken on, for `--json`."""
    return {"kernel": platform.release(), "python": sys.version.split()[0]}


def _sum(results: Iterable[Result], fault: str) -> float:
    return float(sum(result.get(fault, 0) for result in results))


def _cell(value: float | None, row: Row) -> str:
    return f"{'-':>{COLUMN}}" if value is None else f"{value * row.scale:{COLUMN},.{row.digits}f}"
