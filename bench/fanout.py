"""Fan-out: what one delivery costs the gateway, against a C loop that only sends and against other servers.

    python bench/fanout.py [--profile NAME] [--rounds 3] [--peers all] [--publishers 1]
                           [--redis URL|start] [--json FILE]

All servers get the same load from the same tool, in turn and each freshly started,
because the machine is never the same twice: ratios are taken within each round, and
the median over the rounds is reported. What was measured while other programs ran is
left out of medians and ratios, never out of the count of losses. Ends with 1 and one line
if floor or gateway lost an event, doubled it, delivered it out of order or refused
it, or if `--max-ratio` was exceeded. What peers do wrong is shown and no failure.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harness import BenchError, Result, Target, build, floor, gateway, measure
from peers import PEERS, built
from report import Rounds, Row, machine, median, medians, quiet
from report import complaints as faults_of
from report import table as table_of


@dataclass(frozen=True, slots=True)
class Profile:
    """A load: every event goes to every connection."""

    connections: int
    rate: int
    body_size: int = 100

    def describe(self) -> str:
        return f"{self.connections:,} connections x {self.rate:,} events/s, {self.body_size} bytes of data"


PROFILES = {
    "broadcast-1000x50": Profile(connections=1000, rate=50),
    "broadcast-1000x100": Profile(connections=1000, rate=100),
    "joined-100x2000": Profile(connections=100, rate=2000),
}
USUAL = ("broadcast-1000x100", "joined-100x2000")

CPU = "server_cpu_us_per_delivery"
ROWS = (
    Row("CPU per delivery, µs", CPU, digits=2),
    Row("CPU share of one core, %", "server_cpu_share", 100),
    Row("latency p50, ms", "latency_us_p50", 1e-3, 2),
    Row("latency p99, ms", "latency_us_p99", 1e-3, 2),
    Row("latency p99.9, ms", "latency_us_p999", 1e-3, 2),
    Row("latency max, ms", "latency_us_max", 1e-3, 2),
    Row("deliveries/s", "deliveries_per_second", digits=0),
    Row("bytes per delivery", "bytes_per_delivery"),
    Row("deliveries per read", "deliveries_per_read", digits=2),
    Row("connects/s", "connects_per_second", digits=0),
    Row("memory per connection, KB", "rss_per_connection", 1 / 1024),
    Row("load generator's CPU, µs", "loadgen_cpu_us_per_delivery", digits=2),
    Row("publisher late p99, ms", "publish_late_us_p99", 1e-3, 2),
    Row("other programs' CPU, %", "others_cpu_share", 100, 0),
)

FULL = 0.98  # of a core used by a server: it is at its limit
GATEWAY, WITH_REDIS = "gateway", "with Redis"
OURS = ("floor", GATEWAY, WITH_REDIS)
Start = Callable[[], AbstractContextManager[Target]]


def run_rounds(
    profile: Profile, peers: list[str], args: argparse.Namespace
) -> tuple[dict[str, list[Result]], dict[str, str]]:
    """Measure all servers in turn, the order reversed every round; also why peers dropped out."""
    servers: dict[str, Start] = {"floor": floor, GATEWAY: partial(gateway, profile.connections)}
    if args.redis:
        servers[WITH_REDIS] = partial(gateway, profile.connections, args.redis)
    servers |= {name: partial(PEERS[name].run, profile.connections, False) for name in peers}
    options = {
        "connections": profile.connections,
        "rate": profile.rate,
        "publish-body-size": profile.body_size,
        "publishers": args.publishers,
        "seconds": args.seconds,
        "warmup": args.warmup,
    }
    rounds: dict[str, list[Result]] = {name: [] for name in servers}
    failed: dict[str, str] = {}
    for number in range(args.rounds):
        names = list(servers) if number % 2 == 0 else list(reversed(servers))
        for name in names:
            if name in failed:
                continue
            try:
                with servers[name]() as target:
                    result = measure(target, options)
            except BenchError as error:
                if name in OURS:
                    raise
                failed[name] = str(error)
                del rounds[name]
                continue
            rounds[name].append(result)
            print(
                f"  round {number + 1} {name:12} {result[CPU]:6.2f} µs of CPU per delivery, {result['lost']} lost, "
                f"others {result['others_cpu_share']:.0%} of a core",
                file=sys.stderr,
            )
    return rounds, failed


def ratio(rounds: Rounds, other: str = "floor", ours: str = GATEWAY) -> float:
    """The gateway's CPU per delivery in those of another server: median of the rounds' ratios."""
    kept = quiet({name: rounds[name] for name in (ours, other)})
    pairs = zip(kept[ours], kept[other], strict=True)
    of_rounds: list[float] = [one[CPU] / another[CPU] for one, another in pairs]
    return statistics.median(of_rounds)


def ratios(rounds: Rounds) -> dict[tuple[str, str], float]:
    """What is compared: the gateway with every other server, and with Redis against without."""
    pairs = [(GATEWAY, other) for other in rounds if other not in (GATEWAY, WITH_REDIS)]
    if WITH_REDIS in rounds:
        pairs.append((WITH_REDIS, GATEWAY))
    return {pair: ratio(rounds, pair[1], pair[0]) for pair in pairs}


def table(name: str, profile: Profile, rounds: Rounds, failed: dict[str, str]) -> str:
    lines = [table_of(f"{name}: {profile.describe()}", ROWS, rounds)]
    for (ours, other), times in ratios(rounds).items():
        lines.append(f"{ours} / {other}, CPU per delivery: {times:.2f}")
    for server, results in rounds.items():
        lost, closed, left = (sum(result[key] for result in results) for key in ("lost", "closed", "unanswered"))
        if lost or (median(results, "server_cpu_share") or 0) >= FULL:
            lines.append(
                f"{server} was at its limit: {lost:,} deliveries not made, {closed:,} streams closed by it, "
                f"{left:,} publishes unanswered in the end"
            )
    lines += [f"{peer} did not finish: {reason}" for peer, reason in failed.items()]
    return "\n".join(lines)


def complaints(name: str, rounds: Rounds, args: argparse.Namespace) -> list[str]:
    """What went wrong, as sentences; nothing when the run was clean.

    Several publisher connections have no order among them, so none is asked for.
    """
    allowed = () if args.publishers == 1 else ("out_of_order",)
    found = faults_of(name, {server: rounds[server] for server in OURS if server in rounds}, allowed)
    if args.max_ratio is not None and ratio(rounds) > args.max_ratio:
        found.append(f"{name}: {ratio(rounds):.2f} floors, more than {args.max_ratio}")
    return found


def report(
    measured: dict[str, Rounds], failed: dict[str, dict[str, str]], args: argparse.Namespace
) -> dict[str, object]:
    """Everything that was measured, for `--json`."""
    return {
        "publishers": args.publishers,
        "machine": machine(),
        "profiles": {
            name: {
                "description": PROFILES[name].describe(),
                "ratio": ratio(rounds),
                "ratios": {f"{ours} / {other}": times for (ours, other), times in ratios(rounds).items()},
                "failed": failed[name],
                "medians": medians(ROWS, rounds),
                "rounds": rounds,
            }
            for name, rounds in measured.items()
        },
    }


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="fan-out cost against the floor")
    profiles = ", ".join(PROFILES)
    parser.add_argument("--profile", action="append", choices=PROFILES, help=f"one of {profiles}; the last two")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--warmup", type=float, default=2)
    parser.add_argument("--publishers", type=int, default=1, help="publisher connections; events take turns")
    parser.add_argument("--redis", metavar="URL", help="also with Redis there; `start` runs one for the bench alone")
    parser.add_argument("--max-ratio", type=float, metavar="R", help="fail above it")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument("--peers", default="none", help=f"all, none, or a list of: {', '.join(PEERS)}")
    args = parser.parse_args()
    names = {"all": list(PEERS), "none": []}.get(args.peers, args.peers.split(","))
    if unknown := [name for name in names if name not in PEERS]:
        parser.error(f"--peers: there is no {unknown[0]}")
    args.peers = list(dict.fromkeys(names))
    if args.rounds < 1 or args.publishers < 1:
        parser.error("--rounds and --publishers want at least 1")
    return args


def main() -> int:
    args = parse_arguments()
    measured: dict[str, Rounds] = {}
    failed: dict[str, dict[str, str]] = {}
    wrong: list[str] = []
    try:
        build()
        peers = built(args.peers)
        for name in args.profile or USUAL:
            print(f"{name} ...", file=sys.stderr)
            rounds, failed[name] = run_rounds(PROFILES[name], peers, args)
            measured[name] = rounds
            print(table(name, PROFILES[name], rounds, failed[name]), end="\n\n", flush=True)
            wrong += complaints(name, rounds, args)
    except BenchError as error:
        print(f"fanout: {error}", file=sys.stderr)
        return 2
    if args.json:
        args.json.write_text(json.dumps(report(measured, failed, args), indent=1) + "\n")
    if wrong:
        print("fanout: FAILED: " + "; ".join(wrong), file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
