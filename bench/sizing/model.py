"""The whole answer: processes, then what they ask of Redis, the network and the purse."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from .fleet import FULL_IN_DEPLOY, Deploy, Stream, size, stream, taking_us
from .plan import BadInput, Measured, Plan

JOURNAL_ENTRIES = 100_000  # gateway/broker/redis/publisher.py: JOURNAL_LENGTH
PUBSUB_LIMIT = 32 * 2**20  # client-output-buffer-limit pubsub, Redis' default
REDIS_CLIENTS = 10_000  # maxclients, Redis' default
LINKS = 10  # connections of one process to one Redis, at most: pub/sub, reads (8 at once), publishing
PORTS = 28_232  # net.ipv4.ip_local_port_range, the default: from one address to one address and port
WRITE_OVERHEAD = 100  # bytes per write on the wire: IP and TCP headers, a TLS record, an acknowledgement's share
REDIS_BASE_GIB = 0.05  # the server itself, the journal, the buffers
BEAT_BYTES = 30  # a heartbeat with an id
MONTH = 30 * 86400


def _figure(unit: str, label: str) -> Any:
    return field(metadata={"unit": unit, "label": label})


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """The model's answer. `limits`: connections a process may hold on average, by reason; the least one binds.
    `partitions_by`: how many each reason asks for; the greatest one binds."""

    connections: float = _figure("", "connections")
    deliveries: float = _figure("/s", "deliveries")
    per_process: float = _figure("", "connections per process, mean")
    processes: int = _figure("", "processes")
    pods: int = _figure("", "pods")
    cpu: float = _figure("cores", "CPU of a process, mean")
    memory: float = _figure("MiB", "memory of a process, mean")
    hot_user: float = _figure("/s", "events of the busiest user")
    hot_process: float = _figure("means", "deliveries to users, in that one's process")
    egress: float = _figure("Mbit/s", "egress to clients")
    imbalance: float = _figure("means", "fullest process before a deploy")
    at_a_time: int = _figure("", "deploy: pods at a time")
    batches: int = _figure("", "deploy: batches")
    deploy_peak: float = _figure("means", "deploy: fullest process")
    deploy_left: float = _figure("means", "deploy: fullest process afterwards")
    deploy_cpu: float = _figure("cores", "deploy: CPU of the busiest process")
    all_back: float = _figure("s", "deploy: until all clients are back")
    all_at_once: float = _figure("s", "all clients at once: until they are back")
    publishes: float = _figure("/s", "publishes")
    announcements: float = _figure("/s", "announcements")
    redis_cpu: float = _figure("cores", "Redis CPU, all partitions")
    redis_fixed_cpu: float = _figure("cores", "of which in every partition")
    redis_deploy_cpu: float = _figure("cores", "Redis CPU of clients coming back in a deploy")
    partitions: int = _figure("", "partitions")
    redis_out: float = _figure("Mbit/s", "a partition sends")
    redis_memory: float = _figure("GiB", "a partition's memory")
    journal_reach: float = _figure("s", "the journal reaches back over")
    output_stall: float = _figure("s", "a process may stand still before Redis drops it")
    nginx_connections: float = _figure("", "nginx worker_connections, sum")
    cost: float = _figure("/month", "cost")
    serving_us: float = _figure("µs/s", "CPU of one connection, without coming and going")
    limits: dict[str, float]
    partitions_by: dict[str, float]
    notes: list[str]


@dataclass(frozen=True, slots=True)
class RedisNeed:
    """Redis CPU in cores; `fixed` is what each partition has to do, however many there are."""

    heard: float  # processes that an event to a user is announced to
    partitions: int
    partitions_by: dict[str, float]
    shared: float
    fixed: float
    back: float  # of clients coming back in a deploy
    resume: float  # s of CPU of one of them
    rate: float  # events/s in one partition


def redis_need(plan: Plan, m: Measured, one: Stream, processes: int, turn: Deploy) -> RedisNeed:
    """Partitions so that the thread has headroom, the journal reaches back far enough, and a deploy gets through."""
    events = plan.events_per_second
    spread = processes * (1 - (1 - 1 / processes) ** round(plan.tabs))
    heard = 1 - plan.more_tabs + plan.more_tabs * spread
    call = m.redis_call_us / plan.batch + m.redis_event_us
    coming = one.count / plan.session * (m.redis_connect_us + m.redis_leave_us)
    shared = (events * (call + heard * m.redis_announcement_us) + coming) * 1e-6
    fixed = plan.broadcasts * (call + processes * m.redis_announcement_us) + processes * m.redis_process_us
    fixed *= 1e-6
    journal = JOURNAL_ENTRIES / plan.heal - plan.broadcasts
    if journal <= 0:
        raise BadInput("--broadcasts: more than the journal holds for --heal seconds")
    back_rate = one.count * turn.peak / turn.batches / plan.drain
    partitions, by = 1, dict[str, float]()
    while True:
        rate = events / partitions + plan.broadcasts
        kept = min(JOURNAL_ENTRIES, rate * 2 * 3600)
        resume = (m.redis_resume_us + m.redis_resume_entry_us * kept) * 1e-6
        by = {
            "cpu": shared / max(1 - plan.redis_headroom - fixed, 0.05),
            "journal": events / journal,
            "deploy": (shared + back_rate * resume) / max(FULL_IN_DEPLOY - fixed, 0.05),
        }
        needed = math.ceil(max(by.values()))
        if needed <= partitions:
            return RedisNeed(heard, partitions, by, shared, fixed, back_rate * resume, resume, rate)
        partitions = min(needed, 2 * partitions)


def notes_of(plan: Plan, need: RedisNeed, processes: int, fullest_pod: float) -> list[str]:
    notes = []
    if need.fixed > 1 - plan.redis_headroom - 0.05:
        notes.append("probes and broadcasts to every process fill each Redis: a tree of relays, not more partitions")
    if need.partitions > 1:
        reason = max(need.partitions_by, key=lambda name: need.partitions_by[name])
        notes.append(f"more than one partition ({reason}): not built yet")
    if processes * LINKS > REDIS_CLIENTS:
        notes.append(f"up to {processes * LINKS:,} connections to each Redis: raise maxclients ({REDIS_CLIENTS:,})")
    if fullest_pod > PORTS:
        notes.append(f"more than {PORTS:,} streams in a pod: one nginx address runs out of ports towards it")
    return notes


def capacity(plan: Plan, m: Measured) -> Capacity:
    """Size for the fullest process in a deploy, then count what that asks of Redis, the network and the purse."""
    one = stream(plan, m)
    pods, turn, limits = size(plan, m, one)
    cores = round(plan.pod_cores)
    processes = pods * cores
    mean = one.count / processes
    uneven = 1 + math.sqrt(2 * math.log(processes) / mean) if plan.balancer == "random" else math.ceil(mean) / mean
    need = redis_need(plan, m, one, processes, turn)
    users = plan.events_per_second * need.heard
    announced = plan.event_bytes + m.announcement_bytes
    to_process = (users / processes + plan.broadcasts) * announced
    stored = plan.stored * (plan.event_bytes + m.redis_stored_bytes) + need.heard * m.redis_channel_bytes
    redis_gib = plan.users * stored / need.partitions / 2**30 + REDIS_BASE_GIB
    deliveries = one.to_users + plan.broadcasts * one.count
    egress = deliveries * (plan.event_bytes + m.frame_bytes + WRITE_OVERHEAD)
    egress += one.beats * one.count * (BEAT_BYTES + WRITE_OVERHEAD)
    cost = pods * (cores * plan.price_core + plan.pod_memory * plan.price_gib)
    cost += need.partitions * plan.redis_copies * (plan.price_core + redis_gib * plan.price_gib)
    busiest = plan.users ** (plan.zipf - 1)
    at_once = (mean * m.resume_us / (1e6 - m.idle_us), one.count * need.resume / need.partitions)
    return Capacity(
        connections=one.count,
        deliveries=deliveries,
        per_process=mean,
        processes=processes,
        pods=pods,
        cpu=((one.serving + one.coming) * mean + m.idle_us) * 1e-6,
        memory=(m.process_bytes + mean * (m.connection_bytes + m.socket_bytes)) / 2**20,
        hot_user=plan.events_per_second * busiest,
        hot_process=1 + (processes - 1) * busiest * plan.users / one.count,
        egress=egress * 8e-6,
        imbalance=uneven,
        at_a_time=turn.at_a_time,
        batches=turn.batches,
        deploy_peak=turn.peak * uneven,
        deploy_left=turn.left * uneven,
        deploy_cpu=(taking_us(plan, m, one, turn) * uneven * mean + m.idle_us) * 1e-6,
        all_back=(turn.batches - 1) * (plan.drain + plan.ready) + plan.drain + 1.5 * plan.retry_ms / 1000,
        all_at_once=max(1.5 * plan.retry_ms / 1000, *at_once),
        publishes=plan.events_per_second + plan.broadcasts,
        announcements=users + plan.broadcasts * processes,
        redis_cpu=need.shared + need.fixed * need.partitions,
        redis_fixed_cpu=need.fixed,
        redis_deploy_cpu=need.back,
        partitions=need.partitions,
        redis_out=announced * (users / need.partitions + plan.broadcasts * processes) * 8e-6,
        redis_memory=redis_gib,
        journal_reach=JOURNAL_ENTRIES / need.rate if need.rate else math.inf,
        output_stall=PUBSUB_LIMIT / to_process if to_process else math.inf,
        nginx_connections=2 * one.count,
        cost=cost + egress * MONTH / 1e9 * plan.price_egress,
        serving_us=one.serving,
        limits=limits,
        partitions_by=need.partitions_by,
        notes=notes_of(plan, need, processes, mean * cores * turn.peak),
    )
