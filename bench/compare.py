"""Regression check: this work tree against another revision, in alternation.

    python bench/compare.py REV [workload ...] [--rounds 3] [--tolerance 0.1] [--redis URL|start] [--json FILE]

The revision is checked out into a temporary git worktree, and each round measures both
gateways with the tools of this tree. A ratio is taken within a round, the median of the
quiet rounds counts: what the machine does to both cancels. Ends with 1 if a figure is
worse by more than the tolerance, or if this tree lost anything.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from fanout import CPU, PROFILES
from harness import ROOT, BenchError, Result, build
from report import NOISE, Row, complaints, machine, quiet
from workloads import WORKLOADS, Server, Workload, run_rounds

HERE, THERE = "work tree", "other"
PROFILE = PROFILES["broadcast-1000x100"]
COMPARED = {
    "fanout": Workload(
        PROFILE.describe(),
        "",
        {"connections": PROFILE.connections, "rate": PROFILE.rate, "seconds": 8, "warmup": 1},
        (Row("CPU per delivery, µs", CPU, digits=2),),
        tool="loadgen",
    ),
    **WORKLOADS,
}


@dataclass(frozen=True, slots=True)
class Figure:
    """What is compared: a row of a workload's table, and which way is better."""

    workload: str
    row: Row
    more_is_better: bool = False


FIGURES = (
    Figure("fanout", Row("CPU per delivery, µs", CPU, digits=2)),
    Figure("fanout", Row("latency p50, ms", "latency_us_p50", 1e-3, 2)),
    Figure("fanout", Row("latency p99, ms", "latency_us_p99", 1e-3, 2)),
    Figure("idle", Row("connects/s", "connects_per_second", digits=0), more_is_better=True),
    Figure("idle", Row("CPU per connect, µs", "server_cpu_us_per_connect", digits=0)),
    Figure("idle", Row("memory per connection, KB", "rss_per_connection", 1 / 1024)),
    Figure("publish", Row("publishes/s", "publishes_per_second", digits=0), more_is_better=True),
    Figure("publish", Row("CPU per publish, µs", "server_cpu_us_per_publish")),
    Figure("publish", Row("events/s in batches", "batch_events_per_second", digits=0), more_is_better=True),
    Figure("publish", Row("CPU per event of a batch, µs", "server_cpu_us_per_batch_event")),
    Figure("replay", Row("events/s", "replayed_per_second", digits=0), more_is_better=True),
    Figure("replay", Row("CPU per event, µs", "server_cpu_us_per_event", digits=2)),
    Figure("tail", Row("events/s", "replayed_per_second", digits=0), more_is_better=True),
    Figure("storm", Row("live latency in the storm, p99, ms", "live_storm_us_p99", 1e-3)),
    Figure("storm", Row("until all are back, s", "storm_seconds", digits=2)),
    Figure("storm", Row("CPU per return, µs", "server_cpu_us_per_return", digits=0)),
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure of both. `ratio` is the work tree's over the other's; `worse` is above 1 when it is worse."""

    workload: str
    figure: str
    other: float
    work_tree: float
    ratio: float
    worse: float


@contextmanager
def checked_out(revision: str) -> Iterator[Path]:
    """The revision's tree in a temporary folder, known to git for as long as it is there."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        _git("worktree", "add", "--quiet", "--detach", str(tree), revision)
        try:
            yield tree
        finally:
            _git("worktree", "remove", "--force", str(tree))


def _git(*words: str) -> None:
    run = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise BenchError(f"git {words[0]} {words[1]}: {(run.stderr.strip().splitlines() or ['failed'])[-1]}")


def compare(workload: str, rounds: Mapping[str, Sequence[Result]]) -> list[Comparison]:
    """Every figure of a workload that both have."""
    kept, found = quiet(rounds), []
    for figure in (figure for figure in FIGURES if figure.workload == workload):
        row = figure.row
        pairs = [
            (theirs[row.key] * row.scale, ours[row.key] * row.scale)
            for theirs, ours in zip(kept[THERE], kept[HERE], strict=True)
            if theirs.get(row.key) and ours.get(row.key)
        ]
        if not pairs:
            continue
        other, here = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median([ours / theirs for theirs, ours in pairs])
        worse = 1 / ratio if figure.more_is_better else ratio
        found.append(Comparison(workload, row.label, other, here, ratio, worse))
    return found


def noisy(rounds: Mapping[str, Sequence[Result]]) -> bool:
    """Whether no round was quiet: then all of them count, and the ratios mean less."""
    return any(result["others_cpu_share"] > NOISE for results in quiet(rounds).values() for result in results)


def show(comparisons: Sequence[Comparison], revision: str, tolerance: float) -> str:
    lines = [f"{'':46}{revision[:12]:>12}{HERE:>12}{'ratio':>8}"]
    for c in comparisons:
        verdict = "  WORSE" if c.worse > 1 + tolerance else "  better" if c.worse < 1 / (1 + tolerance) else ""
        digits = 2 if c.other < 100 else 0
        figure = f"{c.workload}: {c.figure}"
        lines.append(f"{figure:46}{c.other:12,.{digits}f}{c.work_tree:12,.{digits}f}{c.ratio:8.2f}{verdict}")
    return "\n".join(lines)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="this work tree against another revision")
    parser.add_argument("revision", help="what git calls it: HEAD~1, a tag, a branch")
    parser.add_argument("workload", nargs="*", help=f"of {', '.join(COMPARED)}; all of them")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tolerance", type=float, default=0.1, help="a figure may be so much worse; 0.1 is 10 %%")
    parser.add_argument("--redis", metavar="URL", help="with Redis there, else in memory; `start` runs one")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="an option of crowd")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    args = parser.parse_args()
    if unknown := [name for name in args.workload if name not in COMPARED]:
        parser.error(f"no workload {unknown[0]}; there are {', '.join(COMPARED)}")
    if args.rounds < 1 or not all("=" in change for change in args.set):
        parser.error("--rounds wants at least 1, --set wants NAME=VALUE")
    return args


def main() -> int:
    args = parse_arguments()
    changes = dict(change.split("=", 1) for change in args.set)
    comparisons: list[Comparison] = []
    wrong: list[str] = []
    try:
        build()
        with checked_out(args.revision) as tree:
            servers = [Server(THERE, args.redis, tree), Server(HERE, args.redis)]
            for name in args.workload or COMPARED:
                print(f"{name} ...", file=sys.stderr)
                workload = COMPARED[name]
                known = {k: v for k, v in changes.items() if workload.tool == "crowd" or k in workload.options}
                rounds = run_rounds(workload, servers, args.rounds, known)
                comparisons += compare(name, rounds)
                if noisy(rounds):
                    print(f"  {name}: other programs were busy in every round", file=sys.stderr)
                wrong += complaints(name, {HERE: rounds[HERE]})
    except BenchError as error:
        print(f"compare: {error}", file=sys.stderr)
        return 2
    print(show(comparisons, args.revision, args.tolerance))
    wrong += [f"{c.workload}: {c.figure}: {c.worse:.2f} times" for c in comparisons if c.worse > 1 + args.tolerance]
    if args.json:
        found = [asdict(c) for c in comparisons]
        args.json.write_text(json.dumps({"machine": machine(), "comparisons": found}, indent=1) + "\n")
    if wrong:
        print("compare: WORSE: " + "; ".join(wrong), file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
