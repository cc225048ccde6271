"""A simulation that checks the capacity model: processes as units, clients as counts.

    python bench/simulate.py --users 1e7 [the same options as capacity.py] [--json]

One second a step: clients come and go, the balancer places them, a rolling deploy drains one batch of processes
after the other, whose clients come back after a jittered wait. Nothing here is taken from the formulas that it is
compared with, except the sizes and what one delivery or connect costs. Plain Python; the seed is fixed.
"""

from __future__ import annotations

import json
import math
import random
import sys
from dataclasses import dataclass

from capacity import BadInput, Capacity, Measured, Plan, capacity, parser, plan_from

SAMPLED_EVENTS = 100_000
NORMAL_FROM = 100.0  # a Poisson or binomial count above this mean is drawn from the normal distribution
AVERAGED = 2  # seconds over which CPU is averaged before its peak is taken


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure, from the formula and from the simulation."""

    name: str
    model: float
    simulated: float

    @property
    def percent(self) -> float:
        """How far the simulation lies above the model."""
        return (self.simulated / self.model - 1) * 100 if self.model else 0.0


def poisson(rng: random.Random, mean: float) -> int:
    if mean > NORMAL_FROM:
        return max(0, round(rng.gauss(mean, math.sqrt(mean))))
    count, product, end = 0, rng.random(), math.exp(-mean)
    while product > end:
        count, product = count + 1, product * rng.random()
    return count


def binomial(rng: random.Random, n: int, p: float) -> int:
    mean = n * p
    if p >= 1 or n == 0:
        return n
    if mean > NORMAL_FROM and n - mean > NORMAL_FROM:
        return min(n, max(0, round(rng.gauss(mean, math.sqrt(mean * (1 - p))))))
    return min(n, poisson(rng, mean))


def place_randomly(rng: random.Random, arrivals: int, open_ones: list[int], loads: list[int]) -> dict[int, int]:
    """Each arrival to any process, all alike: a multinomial, drawn as a chain of binomials."""
    placed, left = {}, arrivals
    for position, index in enumerate(open_ones):
        count = binomial(rng, left, 1 / (len(open_ones) - position))
        if count:
            placed[index] = count
            loads[index] += count
            left -= count
    return placed


def place_on_least(arrivals: int, open_ones: list[int], loads: list[int]) -> dict[int, int]:
    """Each arrival to the process with the fewest connections: the lowest are filled up to one level."""
    order = sorted((loads[index], index) for index in open_ones)
    total = filled = 0
    level = 0.0
    for load, _ in order:
        if filled and load * filled - total >= arrivals:
            break
        filled, total = filled + 1, total + load
        level = (total + arrivals) / filled
    placed, left = {}, arrivals
    for load, index in order[:filled]:
        count = min(left, max(0, math.floor(level) - load))
        if count:
            placed[index] = count
            left -= count
    for _, index in order[:left]:  # what the rounding down left over: one each
        placed[index] = placed.get(index, 0) + 1
    for index, count in placed.items():
        loads[index] += count
    return placed


@dataclass(slots=True)
class Fleet:
    """What a rolling deploy did to the processes, and when the last client was back."""

    steady_peak: float = 0.0
    peak_load: float = 0.0
    final_peak: float = 0.0
    peak_cpu: float = 0.0
    all_back: float = 0.0


def deploy(plan: Plan, found: Capacity, measured: Measured, rng: random.Random) -> Fleet:
    """Settle, then replace all processes batch by batch; loads are told in means."""
    fleet, number = Fleet(), found.processes
    mean = found.connections / number
    loads, everyone = [0] * number, list(range(number))

    def place(arrivals: int, open_ones: list[int]) -> dict[int, int]:
        if plan.balancer == "random":
            return place_randomly(rng, arrivals, open_ones, loads)
        return place_on_least(arrivals, open_ones, loads)

    place(round(found.connections), everyone)
    fleet.steady_peak = max(loads) / mean
    size = found.at_a_time * number // found.pods
    batches = [everyone[start : start + size] for start in range(0, number, size)]
    drain, ready = round(plan.drain), round(plan.ready)
    waiting: dict[int, int] = {}  # step -> clients that will connect then
    busy = [0.0] * number  # connects and leavings, in seconds of CPU, decaying over AVERAGED seconds
    steps = len(batches) * (drain + ready) + math.ceil(plan.retry_ms * 1.5e-3) + 2
    for step in range(steps):
        turn, second = divmod(step, drain + ready)
        closed = set(batches[turn]) if turn < len(batches) else set()
        open_ones = [index for index in everyone if index not in closed]
        busy = [spent * (1 - 1 / AVERAGED) for spent in busy]
        if closed and second == 0:
            fleet.peak_load = max(fleet.peak_load, max(loads) / mean)
        for index in closed if second < drain else ():
            leaving = binomial(rng, loads[index], 1 / (drain - second))
            loads[index] -= leaving
            busy[index] += leaving * measured.leave_us * 1e-6 / AVERAGED
            _wait(rng, waiting, step, leaving, plan.retry_ms / 1000)
        arrivals = waiting.pop(step, 0)
        for index in open_ones:  # those who leave for good, and as many who come
            leaving = binomial(rng, loads[index], 1 / plan.session)
            loads[index] -= leaving
            busy[index] += leaving * measured.leave_us * 1e-6 / AVERAGED
        newcomers = poisson(rng, found.connections / plan.session)
        newcomers = min(newcomers, max(0, round(found.connections) - sum(loads) - sum(waiting.values()) - arrivals))
        if arrivals:
            fleet.all_back = step
        for index, count in place(arrivals + newcomers, open_ones).items():
            busy[index] += count * measured.resume_us * 1e-6 / AVERAGED
        if step >= AVERAGED:
            now = max(busy[i] + loads[i] * found.serving_us * 1e-6 for i in open_ones) + measured.idle_us * 1e-6
            fleet.peak_cpu = max(fleet.peak_cpu, now)
    fleet.final_peak = max(loads) / mean
    return fleet


def _wait(rng: random.Random, waiting: dict[int, int], step: int, count: int, retry: float) -> None:
    """Spread clients over the seconds in which they will come back: `retry` ± 50 %."""
    first, last = 0.5 * retry, 1.5 * retry
    slots = [second for second in range(math.floor(first), math.ceil(last))]
    left, share_left = count, 1.0
    for second in slots:
        share = (min(second + 1, last) - max(second, first)) / (last - first)
        some = left if second == slots[-1] else binomial(rng, left, min(1.0, share / share_left))
        waiting[step + 1 + second] = waiting.get(step + 1 + second, 0) + some
        left, share_left = left - some, share_left - share


def announcements(plan: Plan, found: Capacity, rng: random.Random) -> tuple[float, float]:
    """Announcements per event to a user; deliveries in the process of the busiest user, in those of the mean.

    Users are drawn by a power law of exponent `zipf`; each tab of a user stands in some process and stays there.
    """
    number, heard = found.processes, 0
    deliveries = [0] * number
    for _ in range(SAMPLED_EVENTS):
        rank = int(plan.users * rng.random() ** (1 / (1 - plan.zipf)))
        places = _places(plan, number, rank)
        heard += len(set(places))
        for place in places:
            deliveries[place] += 1
    of_busiest = deliveries[_places(plan, number, 0)[0]]
    return heard / SAMPLED_EVENTS, of_busiest / (sum(deliveries) / number)


def _places(plan: Plan, number: int, rank: int) -> list[int]:
    """The processes of a user's tabs; the same whenever it is asked for."""
    own = random.Random(rank)
    tabs = round(plan.tabs) if own.random() < plan.more_tabs else 1
    return [own.randrange(number) for _ in range(tabs)]


def compare(plan: Plan, measured: Measured, seed: int = 1) -> list[Comparison]:
    """The model beside the simulation; the same seed gives the same figures."""
    rng = random.Random(seed)
    found = capacity(plan, measured)
    heard, hot = announcements(plan, found, rng)
    fleet = deploy(plan, found, measured, rng)
    per_second = plan.events_per_second * heard + plan.broadcasts * found.processes
    return [
        Comparison("fullest process, before the deploy, in means", found.imbalance, fleet.steady_peak),
        Comparison("fullest process during the deploy, in means", found.deploy_peak, fleet.peak_load),
        Comparison("fullest process after the deploy, in means", found.deploy_left, fleet.final_peak),
        Comparison("busiest process during the deploy, cores", found.deploy_cpu, fleet.peak_cpu),
        Comparison("all clients back, s after the deploy began", found.all_back, fleet.all_back),
        Comparison("announcements/s on Redis", found.announcements, per_second),
        Comparison("busiest user's process, deliveries, in means", found.hot_process, hot),
    ]


def main() -> int:
    options = parser("the capacity model against a simulation")
    options.add_argument("--seed", type=int, default=1)
    args = options.parse_args()
    try:
        rows = compare(plan_from(args), Measured.load(args.measured), args.seed)
    except BadInput as error:
        options.error(str(error))
    if args.json:
        print(json.dumps({row.name: [row.model, row.simulated] for row in rows}, indent=1))
        return 0
    print(f"{'':46}{'model':>16}{'simulated':>16}{'difference':>12}")
    for row in rows:
        print(f"{row.name:46}{row.model:16,.3f}{row.simulated:16,.3f}{row.percent:+11.1f}%")
    return 0


if __name__ == "__main__":
    sys.exit(main())
