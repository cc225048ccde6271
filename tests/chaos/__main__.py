"""`make chaos`: every fault in its full form, one after the other, and a table of what was seen.

python -m chaos [scenario …] [--short]
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time

from browser.nginx_chromium import nginx_and_chromium, rolling_restart_behind_nginx
from chaos import floods
from chaos.judge import Verdict
from chaos.scenarios import ALL, FULL, SHORT, Scale, Scenario

EVERY: tuple[Scenario, ...] = (*ALL, *floods.ALL, nginx_and_chromium, rolling_restart_behind_nginx)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("scenario", nargs="*", choices=[[], *(s.__name__ for s in EVERY)], help="all, if none is named")
    parser.add_argument("--short", action="store_true", help="the form that the test suite runs")
    arguments = parser.parse_args()
    chosen = [s for s in EVERY if not arguments.scenario or s.__name__ in arguments.scenario]
    rows = []
    for number, scenario in enumerate(chosen, 1):
        print(f"[{number}/{len(chosen)}] {scenario.__name__}: {scenario.__doc__}", flush=True)
        started = time.monotonic()
        verdict = asyncio.run(judged(scenario, SHORT if arguments.short else FULL))
        rows.append(row(scenario, verdict, time.monotonic() - started))
        print(f"    {rows[-1]}", flush=True)
    print("\n" + "\n".join(rows))
    return int(any("NOT CLEAN" in line or "FAILED" in line for line in rows))


async def judged(scenario: Scenario, scale: Scale) -> Verdict | Exception:
    try:
        return await scenario(scale)
    except Exception as error:  # one that could not be run is a row of the table, and the others go on
        return error


def row(scenario: Scenario, verdict: Verdict | Exception, seconds: float) -> str:
    if isinstance(verdict, Exception):
        return f"{scenario.__name__:24} FAILED     {verdict!r}"
    word = "clean" if verdict.clean and not verdict.gaps else "NOT CLEAN"
    return f"{scenario.__name__:24} {word:10} {verdict} ({seconds:.0f} s)"


if __name__ == "__main__":
    sys.exit(main())
