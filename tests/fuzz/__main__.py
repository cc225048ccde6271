"""Long runs: `make fuzz`, or in tests/ `python -m fuzz --seconds 600 body announcement`.

Each target gets its share of the time. With atheris (the extra `fuzz`) inputs are bred by what they reach in the code,
without it they are hypothesis' changes of the corpus. What was found stands in build/fuzz; an input that is worth
keeping goes into tests/fuzz/corpus/<target>, and is replayed by every run of the tests.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import subprocess
import sys
import time
from pathlib import Path

from fuzz.corpus import CORPUS, alike, inputs
from fuzz.targets import TARGETS
from hypothesis import HealthCheck, Phase, given, settings

ROOT = Path(__file__).parent.parent.parent
FOUND = ROOT / "build" / "fuzz"
MEMORY_MB, AN_INPUT_WITHIN = 1024, 5


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz what parses.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=float, default=180, help="in all")
    args = parser.parse_args()
    names: list[str] = args.targets or list(TARGETS)
    if unknown := set(names) - set(TARGETS):
        parser.error(f"no such target: {', '.join(unknown)}")
    by_coverage = importlib.util.find_spec("atheris") is not None
    print(f"{len(names)} targets, {args.seconds:g} s, by {'coverage (atheris)' if by_coverage else 'hypothesis'}")
    run = led_by_coverage if by_coverage else by_changes
    failed = [name for name in names if not run(name, args.seconds / len(names))]
    print(f"found something in {', '.join(failed)}" if failed else "nothing found")
    return 1 if failed else 0


def led_by_coverage(name: str, seconds: float) -> bool:
    """Whether nothing was found."""
    bred = FOUND / name
    bred.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "fuzz.one", name, str(bred), str(CORPUS / name)),
            *(f"-max_total_time={round(seconds) or 1}", f"-rss_limit_mb={MEMORY_MB}", f"-timeout={AN_INPUT_WITHIN}"),
            *(f"-artifact_prefix={FOUND}/{name}-", "-print_final_stats=1", "-max_len=4096"),
        ],
        cwd=ROOT / "tests",
        stderr=subprocess.STDOUT,
        stdout=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    runs = re.findall(r"number_of_executed_units: (\d+)", done.stdout)
    print(f"  {name:<16} {int(runs[-1]) if runs else 0:>10,} inputs, {len(list(bred.iterdir())):>5} of them new ways")
    if done.returncode:
        print(done.stdout[-3000:])
    return done.returncode == 0


def by_changes(name: str, seconds: float) -> bool:
    """Whether nothing was found."""
    until, tried = time.monotonic() + seconds, 0

    @settings(
        max_examples=500, deadline=None, database=None, phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(alike(inputs(name)))
    def holds(data: bytes) -> None:
        nonlocal tried
        tried += 1
        TARGETS[name](data)

    try:
        while time.monotonic() < until:
            holds()
    except Exception as error:
        print(f"{name}: {error!r}", *getattr(error, "__notes__", ()), sep="\n")
        return False
    finally:
        print(f"  {name:<16} {tried:>10,} inputs")
    return True


sys.exit(main())
