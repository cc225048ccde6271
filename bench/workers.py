"""What two workers cost that one does not, at the same load: `python bench/workers.py [--rounds 3]`.

On two cores the load generator and Redis take one of them, so that "two workers carry twice as much" cannot be
shown here by loading both fully. What can: the CPU of all workers together for a delivery, against that of one
alone, and how evenly it lies on them. Where both hold, so does twice as much, on machines with the cores.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

from harness import BenchError, Result, build, gateway, measure, redis_server

LOAD = {"connections": 1000, "rate": 50, "publish-body-size": 100, "publishers": 1, "seconds": 8, "warmup": 2}


def main() -> int:
    parser = argparse.ArgumentParser(description="two workers against one")
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    costs: dict[int, list[float]] = {1: [], 2: []}
    try:
        build()
        for number in range(rounds):
            for workers in (1, 2) if number % 2 == 0 else (2, 1):
                cost, shares, result = measured(workers)
                costs[workers].append(cost)
                print(
                    f"round {number + 1}, workers {workers}: {cost:.2f} µs of CPU per delivery, "
                    f"shares {' '.join(f'{share:.0%}' for share in shares)}, {result['lost']} lost, "
                    f"p99 {result['latency_us_p99'] / 1000:.1f} ms, "
                    f"load generator {result['loadgen_cpu_us_per_delivery']:.2f} µs"
                )
    except BenchError as error:
        print(f"workers: {error}", file=sys.stderr)
        return 2
    one, two = (statistics.median(costs[workers]) for workers in (1, 2))
    print(f"two workers / one, CPU per delivery: {two / one:.2f}; so two cores carry {2 * one / two:.2f} times as much")
    return 0


def measured(workers: int) -> tuple[float, list[float], Result]:
    """CPU per delivery (µs) over all processes, each one's share of it, and the run."""
    with (
        redis_server() as (url, _),
        gateway(1000, url, settings={"GATEWAY_WORKERS": str(workers)}) as target,
    ):
        pids = processes(target.pid)
        before = [cpu_ns(pid) for pid in pids]
        result = measure(target, LOAD)
        used = [cpu_ns(pid) - start for pid, start in zip(pids, before, strict=True)]
    deliveries = LOAD["connections"] * LOAD["rate"] * (LOAD["seconds"] + LOAD["warmup"])
    serving = [share for share in (ns / sum(used) for ns in used) if share > 0.01]  # the parent serves nobody
    return sum(used) / deliveries / 1000, serving, result


def processes(parent: int) -> list[int]:
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [parent, *map(int, children)]


def cpu_ns(pid: int) -> int:
    return sum(int(task.read_text().split()[0]) for task in Path(f"/proc/{pid}/task").glob("*/schedstat"))


if __name__ == "__main__":
    sys.exit(main())
