"""Processes: how many connections each may hold, so that a rolling deploy gets through."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .plan import BadInput, Measured, Plan

FULL_IN_DEPLOY = 0.9  # of a core: what a process may use while it takes the clients of others
MEMORY_KEPT = 0.2  # of a pod's memory: for bursts, slow clients, the tails

OPTION_OF = {
    "cpu": "headroom",
    "cpu in a deploy": "drain",
    "memory": "pod-memory",
    "broadcast": "broadcast-ms",
    "most": "most",
}
"""The option to change, by what limits a process."""


@dataclass(frozen=True, slots=True)
class Deploy:
    """A rolling deploy in `batches`, in means of a process' connections; `arriving` is per second."""

    at_a_time: int
    batches: int
    peak: float
    left: float
    busiest: float
    arriving: float


def rolling(plan: Plan, pods: int, weight: float) -> Deploy:
    """Replace so many pods at a time that `--deploy` is kept; each batch's clients go to the others.

    `weight` is the CPU of taking one client a second, in that of serving one: what makes a process the busiest.
    By least_conn all of a batch's clients go to the new, empty one before it. By random they go to all alike, those
    about to be drained included: so the last batch has nearly e times the mean when its turn comes.
    """
    cycle = plan.drain + plan.ready
    at_a_time = math.ceil(pods / math.floor(plan.deploy / cycle))
    batches = math.ceil(pods / at_a_time)
    others = batches - 1
    renewed = batches / others / plan.session  # clients that come anew, per second and open process
    if plan.balancer == "least_conn":
        full = pods / (pods - at_a_time)
        arriving = full / plan.drain + pods / at_a_time / plan.session
        return Deploy(at_a_time, batches, full, full, full, arriving)
    loads, peak, busiest, rate = [1.0] * batches, 1.0, 1.0, 0.0
    for turn in range(batches):
        peak, leaving = max(peak, loads[turn]), loads[turn]
        drained_rate = leaving / others / plan.drain
        stays = math.exp(-cycle / plan.session)
        anew = (1 - stays) * (batches - leaving) / others
        loads = [0.0 if i == turn else load * stays + leaving / others + anew for i, load in enumerate(loads)]
        if max(loads) + weight * (drained_rate + renewed) > busiest + weight * rate:
            busiest, rate = max(loads), drained_rate + renewed
    return Deploy(at_a_time, batches, peak, max(loads), busiest, rate)


@dataclass(frozen=True, slots=True)
class Stream:
    """What one connection asks for, per second; CPU in µs."""

    count: float  # of them, in all
    to_users: float  # deliveries of events to single users, in all
    serving: float  # deliveries, heartbeats, its share of the POSTs
    coming: float  # its share of the coming and going
    beats: float


def stream(plan: Plan, m: Measured) -> Stream:
    """A heartbeat is sent after a silence; events that arrive as a Poisson process leave so many of them."""
    count = plan.users * (1 + plan.more_tabs * (round(plan.tabs) - 1))
    to_users = plan.events_per_second * count / plan.users
    rate = to_users / count + plan.broadcasts
    silent = math.exp(-rate * plan.heartbeat)
    beats = rate * silent / (1 - silent) if rate * plan.heartbeat > 1e-9 else 1 / plan.heartbeat
    posts = plan.posts * plan.events_per_second / plan.batch / count
    serving = to_users / count * m.user_delivery_us + plan.broadcasts * m.delivery_us
    serving += beats * m.heartbeat_us + posts * m.post_us
    return Stream(count, to_users, serving, (m.connect_us + m.leave_us) / plan.session, beats)


def limits_of(plan: Plan, m: Measured, one: Stream, turn: Deploy) -> dict[str, float]:
    """How many connections a process may have on average, so that in a deploy the fullest one still can."""
    memory = plan.pod_memory * 2**30 * (1 - MEMORY_KEPT) / round(plan.pod_cores) - m.process_bytes
    return {
        "cpu": (1e6 * (1 - plan.headroom) - m.idle_us) / (one.serving + one.coming),
        "cpu in a deploy": (1e6 * FULL_IN_DEPLOY - m.idle_us) / taking_us(plan, m, one, turn),
        "memory": memory / (m.connection_bytes + m.socket_bytes) / turn.peak,
        "broadcast": plan.broadcast_ms * 1e3 / m.delivery_us / turn.peak if plan.broadcasts else math.inf,
        "most": plan.most / turn.peak,
    }


def taking_us(plan: Plan, m: Measured, one: Stream, turn: Deploy) -> float:
    """CPU per second of the busiest process in a deploy, for each connection of the mean."""
    return turn.busiest * (one.serving + m.leave_us / plan.session) + turn.arriving * m.resume_us


def size(plan: Plan, m: Measured, one: Stream) -> tuple[int, Deploy, dict[str, float]]:
    """The least number of pods (two at least) that hold all, and their deploy; raises `BadInput` if none does."""
    weight = m.resume_us / one.serving
    pods = 2
    while True:
        turn = rolling(plan, pods, weight)
        limits = limits_of(plan, m, one, turn)
        reason = min(limits, key=lambda name: limits[name])
        if limits[reason] < 1:
            raise BadInput(f"--{OPTION_OF[reason]}: not one connection fits in a process ({reason})")
        needed = math.ceil(one.count / limits[reason] / round(plan.pod_cores))
        if needed <= pods:
            return pods, turn, limits
        pods += max(1, (needed - pods) // 2)
