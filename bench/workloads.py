"""Workloads: connecting, publishing, replay, and everybody coming back at once.

    python bench/workloads.py [idle publish replay tail storm] [--memory] [--redis URL|start]
                              [--peers all] [--rounds 1] [--set NAME=VALUE] [--json FILE]

Each round starts every server anew, and the one that goes first changes. Peers take part
in what needs nothing of the gateway's own: connecting, idling, and publishing an event at
a time. Ends with 1 and one line if the gateway lost an event, doubled it, delivered it out
of order or refused it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness import ROOT, BenchError, Option, Result, Target, build, gateway, measure, need_descriptors
from peers import PEERS, built
from report import Row, complaints, machine, medians, table

SPARE_DESCRIPTORS = 500


@dataclass(frozen=True, slots=True)
class Workload:
    """A load and the figures that count in it. `command` and `options` are those of the tool."""

    about: str
    command: str
    options: Mapping[str, Option]
    rows: tuple[Row, ...]
    settings: Mapping[str, str] = field(default_factory=dict)
    tool: str = "crowd"
    headline: int = 0  # the row that is told of every round

    @property
    def users(self) -> int:
        live = float(self.options.get("live", 1)) if self.command == "storm" else 1
        return int(float(self.options["connections"]) + live)


CONNECT_ROWS = (
    Row("connects/s", "connects_per_second", digits=0),
    Row("connect p50, ms", "connect_us_p50", 1e-3),
    Row("connect p99, ms", "connect_us_p99", 1e-3),
    Row("CPU per connect, µs", "server_cpu_us_per_connect", digits=0),
    Row("memory per connection, KB", "rss_per_connection", 1 / 1024),
)
SHARES = (
    Row("server's CPU, % of a core", "server_cpu_share", 100, 0),
    Row("broker's CPU, %", "broker_cpu_share", 100, 0),
    Row("load generator's CPU, %", "loadgen_cpu_share", 100, 0),
    Row("other programs' CPU, %", "others_cpu_share", 100, 0),
)
IDLE_ROWS = (
    *CONNECT_ROWS,
    Row("CPU when idle, % of a core", "idle_cpu_share", 100, 2),
    Row("broker's CPU when idle, %", "idle_broker_cpu_share", 100, 2),
    *SHARES,
)
PUBLISH_ROWS = (
    Row("publishes/s", "publishes_per_second", digits=0),
    Row("publish p50, ms", "publish_us_p50", 1e-3, 2),
    Row("publish p99, ms", "publish_us_p99", 1e-3, 2),
    Row("delivery p50, ms", "delivery_us_p50", 1e-3, 2),
    Row("delivery p99, ms", "delivery_us_p99", 1e-3, 2),
    Row("CPU per publish, µs", "server_cpu_us_per_publish"),
    Row("broker's CPU per publish, µs", "broker_cpu_us_per_publish"),
    Row("server's CPU, % of a core", "publish_server_cpu_share", 100, 0),
    Row("load generator's CPU, %", "publish_loadgen_cpu_share", 100, 0),
    Row("events/s in batches", "batch_events_per_second", digits=0),
    Row("batch p50, ms", "batch_us_p50", 1e-3, 2),
    Row("batch p99, ms", "batch_us_p99", 1e-3, 2),
    Row("delivery p50 of batches, ms", "batch_delivery_us_p50", 1e-3, 2),
    Row("delivery p99 of batches, ms", "batch_delivery_us_p99", 1e-3, 2),
    Row("CPU per event of a batch, µs", "server_cpu_us_per_batch_event"),
    Row("broker's CPU per event, µs", "broker_cpu_us_per_batch_event"),
    Row("server's CPU, % of a core", "batch_server_cpu_share", 100, 0),
    Row("load generator's CPU, %", "batch_loadgen_cpu_share", 100, 0),
    SHARES[-1],
)
REPLAY_ROWS = (
    Row("events/s", "replayed_per_second", digits=0),
    Row("from first connect to last event, s", "replay_seconds", digits=2),
    Row("a client's replay p50, s", "finish_us_p50", 1e-6, 2),
    Row("a client's replay max, s", "finish_us_max", 1e-6, 2),
    Row("CPU per event, µs", "server_cpu_us_per_event", digits=2),
    Row("broker's CPU per event, µs", "broker_cpu_us_per_event", digits=2),
    Row("bytes per event", "bytes_per_event", digits=0),
    *SHARES,
)
STORM_ROWS = (
    Row("live latency before, p50, ms", "live_calm_us_p50", 1e-3, 2),
    Row("live latency before, p99, ms", "live_calm_us_p99", 1e-3, 2),
    Row("live latency before, max, ms", "live_calm_us_max", 1e-3, 2),
    Row("live latency in the storm, p50, ms", "live_storm_us_p50", 1e-3, 1),
    Row("live latency in the storm, p99, ms", "live_storm_us_p99", 1e-3, 1),
    Row("live latency in the storm, max, ms", "live_storm_us_max", 1e-3, 1),
    Row("until all are back, s", "storm_seconds", digits=2),
    Row("of it until they may come, s", "storm_away_seconds", digits=2),
    Row("returns/s", "returns_per_second", digits=0),
    Row("a client's way back p50, s", "return_us_p50", 1e-6, 2),
    Row("a client's way back max, s", "return_us_max", 1e-6, 2),
    Row("CPU per return, µs", "server_cpu_us_per_return", digits=0),
    Row("broker's CPU per return, µs", "broker_cpu_us_per_return", digits=0),
    Row("streams refused and tried again", "refused_streams", digits=0),
    *SHARES,
)

HISTORY: dict[str, Option] = {"connections": 200, "events": 1000, "pause": 1, "settle": 0.5}
WORKLOADS = {
    "idle": Workload(
        "8,000 users connect, 256 at once; then nothing for 16 s",
        "idle",
        {"connections": 8000, "in-flight": 256, "settle": 2, "window": 16},
        IDLE_ROWS,
    ),
    "publish": Workload(
        "32 publishers to 5,000 connected users, an event at a time; then 8, in batches of 100",
        "publish",
        {
            "connections": 5000,
            "in-flight": 256,
            "publishers": 32,
            "batch": 100,
            "batch-publishers": 8,
            "publish-path": "/v1/users/user-%d/events",
            "seconds": 5,
            "drain": 10,
        },
        PUBLISH_ROWS,
    ),
    "replay": Workload(
        "200 clients at once replay 1,000 events of 100 bytes from the history",
        "replay",
        HISTORY,
        REPLAY_ROWS,
        {"GATEWAY_LINGER_SECONDS": "0.2"},
    ),
    "tail": Workload(
        "200 clients at once replay 1,000 events of 100 bytes that the process itself has seen",
        "replay",
        HISTORY | {"warm": 1},
        REPLAY_ROWS,
    ),
    "storm": Workload(
        "10,000 clients drop and come back at once, 5 events behind; 200 listen to 50 events/s meanwhile",
        "storm",
        {"connections": 10_000, "in-flight": 256, "live": 200, "live-rate": 50, "window": 5, "drain": 10},
        STORM_ROWS,
        headline=4,
    ),
}


FOR_PEERS = ("idle", "publish")
OF_PEERS = ("--ready", "block", "--seed-path", "")  # unless their own arguments say otherwise


@dataclass(frozen=True, slots=True)
class Server:
    """A gateway to be started: with which broker, from which source tree."""

    name: str
    redis: str | None = None
    tree: Path = ROOT

    def options(self, workload: Workload) -> dict[str, Option]:
        return dict(workload.options)

    @contextmanager
    def started(self, workload: Workload) -> Iterator[Target]:
        with gateway(workload.users, self.redis, tree=self.tree, settings=workload.settings) as target:
            counted = target.broker is not None and workload.tool == "crowd"
            broker = ("--broker-pid", str(target.broker)) if counted else ()
            yield replace(target, name=self.name, arguments=target.arguments + broker)


@dataclass(frozen=True, slots=True)
class Peer:
    """Another server, as `fanout.py` measures it."""

    name: str

    def options(self, workload: Workload) -> dict[str, Option]:
        """Its paths are its own, and it takes an event at a time."""
        own = {name: value for name, value in workload.options.items() if name != "publish-path"}
        return own | ({"batch": 1} if workload.command == "publish" else {})

    @contextmanager
    def started(self, workload: Workload) -> Iterator[Target]:
        with PEERS[self.name].run(workload.users, workload.command == "publish") as target:
            yield replace(target, arguments=(*OF_PEERS, *target.arguments))


def run_rounds(
    workload: Workload, servers: Sequence[Server | Peer], count: int, changes: Mapping[str, str]
) -> dict[str, list[Result]]:
    """Measure the servers in turn; the one that goes first changes every round."""
    workload = replace(workload, options={**workload.options, **changes})
    need_descriptors(workload.users + SPARE_DESCRIPTORS)
    rounds: dict[str, list[Result]] = {server.name: [] for server in servers}
    for number in range(count):
        for server in servers if number % 2 == 0 else reversed(servers):
            with server.started(workload) as target:
                result = measure(target, server.options(workload), workload.tool, *workload.command.split())
            rounds[server.name].append(result)
            print(
                f"  round {number + 1} {server.name:10} {headline(workload.rows[workload.headline], result)}, "
                f"{result.get('lost', 0):.0f} lost, others {result['others_cpu_share']:.0%} of a core",
                file=sys.stderr,
            )
    return rounds


def headline(row: Row, result: Result) -> str:
    return f"{row.label} {result[row.key] * row.scale:,.{row.digits}f}"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="connecting, publishing, replay and a storm of reconnects")
    names = ", ".join(WORKLOADS)
    parser.add_argument("workload", nargs="*", help=f"of {names}; all of them")
    parser.add_argument("--memory", action="store_true", help="with the memory broker (the default without --redis)")
    parser.add_argument("--redis", metavar="URL", help="with Redis there; `start` runs one for the bench alone")
    parser.add_argument("--peers", default="none", help=f"all, none, or a list of: {', '.join(PEERS)}")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="an option of crowd")
    parser.add_argument("--tree", type=Path, default=ROOT, help="where the gateway's sources are")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    args = parser.parse_args()
    if unknown := [name for name in args.workload if name not in WORKLOADS]:
        parser.error(f"no workload {unknown[0]}; there are {names}")
    args.peers = {"all": list(PEERS), "none": []}.get(args.peers, args.peers.split(","))
    if unknown := [name for name in args.peers if name not in PEERS]:
        parser.error(f"--peers: there is no {unknown[0]}")
    if args.rounds < 1 or not all("=" in change for change in args.set):
        parser.error("--rounds wants at least 1, --set wants NAME=VALUE")
    return args


def main() -> int:
    args = parse_arguments()
    ours = [Server("memory", tree=args.tree.resolve())] if args.memory or not args.redis else []
    if args.redis:
        ours.append(Server("redis", args.redis, args.tree.resolve()))
    changes = dict(change.split("=", 1) for change in args.set)
    measured: dict[str, dict[str, list[Result]]] = {}
    wrong: list[str] = []
    try:
        build()
        peers = [Peer(name) for name in built(args.peers)]
        for name in args.workload or WORKLOADS:
            print(f"{name} ...", file=sys.stderr)
            workload, servers = WORKLOADS[name], [*ours, *(peers if name in FOR_PEERS else ())]
            rounds = measured[name] = run_rounds(workload, servers, args.rounds, changes)
            print(table(f"{name}: {workload.about}", workload.rows, rounds), end="\n\n", flush=True)
            wrong += complaints(name, {server.name: rounds[server.name] for server in ours})
    except BenchError as error:
        print(f"workloads: {error}", file=sys.stderr)
        return 2
    if args.json:
        args.json.write_text(json.dumps(report(measured), indent=1) + "\n")
    if wrong:
        print("workloads: FAILED: " + "; ".join(wrong), file=sys.stderr)
    return 1 if wrong else 0


def report(measured: Mapping[str, Mapping[str, list[Result]]]) -> dict[str, object]:
    """Everything that was measured, for `--json`."""
    workloads = {
        name: {
            "description": WORKLOADS[name].about,
            "medians": medians(WORKLOADS[name].rows, rounds),
            "rounds": rounds,
        }
        for name, rounds in measured.items()
    }
    return {"machine": machine(), "workloads": workloads}


if __name__ == "__main__":
    sys.exit(main())
