"""How many processes, how much Redis: a capacity model from measured figures.

    python bench/capacity.py --users 1e6 --events 5e4 --broadcasts 0.1 [--json]
    python bench/capacity.py --measure            # measures the figures again, and writes measured.json

What is measured is in measured.json, each figure with the command it comes from. What is assumed is an option with a
default. Everything else is arithmetic, and docs/scaling.md explains it. `simulate.py` checks it.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import json
import sys
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from sizing.model import Capacity, capacity
from sizing.plan import FIGURES, BadInput, Measured, Plan

__all__ = ["BadInput", "Capacity", "Measured", "Plan", "capacity", "parser", "plan_from"]


def table(found: Capacity) -> str:
    lines = []
    for f in fields(found):
        if not f.metadata:
            continue
        value, unit = getattr(found, f.name), f.metadata["unit"]
        digits = 0 if isinstance(value, int) or value >= 100 else 1 if value >= 10 else 3
        lines.append(f"{f.metadata['label']:50}{value:>18,.{digits}f} {unit}")
    bound = min(found.limits, key=lambda name: found.limits[name])
    lines.append("a process may hold, on average: " + ", ".join(f"{n} {v:,.0f}" for n, v in found.limits.items()))
    lines.append(f"what limits it first: {bound}")
    lines.append("partitions asked for: " + ", ".join(f"{n} {v:,.2f}" for n, v in found.partitions_by.items()))
    return "\n".join(lines + [f"note: {note}" for note in found.notes])


def parser(description: str) -> argparse.ArgumentParser:
    """All options of `Plan`, and where the figures are."""
    options = argparse.ArgumentParser(description=description)
    for f in fields(Plan):
        number = f.name != "balancer"
        shown = "" if f.name == "users" else f" ({f.default})"
        options.add_argument(
            f"--{f.name.replace('_', '-')}",
            type=float if number else str,
            default=f.default,
            metavar="N" if number else "NAME",
            help=f.metadata["help"] + shown,
        )
    options.add_argument("--measured", type=Path, default=FIGURES, metavar="FILE", help="the figures (measured.json)")
    options.add_argument("--json", action="store_true", help="print JSON")
    return options


def plan_from(args: argparse.Namespace) -> Plan:
    return Plan(**{f.name: getattr(args, f.name) for f in fields(Plan)})


def measure(path: Path) -> None:
    """Measure what this file can, and write it; what has another source stays as it is."""
    from sizing.gateway_figures import gateway_figures  # here: the model alone needs nothing installed
    from sizing.measuring import redis_server
    from sizing.redis_figures import overheads, redis_figures

    with redis_server() as server:
        found = overheads() | asyncio.run(gateway_figures(server)) | redis_figures(server)
    held: dict[str, Any] = json.loads(path.read_text())
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    for name, value in found.items():
        figure = held["figures"].setdefault(name, {})
        print(f"{name:26}{figure.get('value', 0):>14,.3f} -> {value:,.3f}")
        digits = 4 if value < 1 else 1 if value < 1000 else 0
        figure |= {"value": round(value, digits), "source": "python bench/capacity.py --measure", "date": today}
    path.write_text(json.dumps(held, indent=1, ensure_ascii=False) + "\n")


def main() -> int:
    options = parser("how many processes, how much Redis")
    options.add_argument("--measure", action="store_true", help="measure again (two minutes), write the figures, end")
    args = options.parse_args()
    if args.measure:
        measure(args.measured)
        return 0
    try:
        plan = plan_from(args)
        found = capacity(plan, Measured.load(args.measured))
    except BadInput as error:
        options.error(str(error))
    if args.json:
        print(json.dumps({"plan": asdict(plan), "capacity": asdict(found)}, indent=1))
    else:
        print(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
