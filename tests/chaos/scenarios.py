"""The faults, each made for real. A scenario returns its verdict, at the `Scale` of the suite or of `make chaos`."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import aiohttp
import redis.asyncio
from cable import Cable
from chaos.fleet import Client, Fleet
from chaos.judge import Verdict, percentile
from chaos.load import Load
from chaos.stage import Stage, stage
from clusters import RedisCluster
from proxy import Proxy
from sentinels import Service
from servers import GatewayProcess, until

from gateway.broker.redis.bounds import Bounds


@dataclass(frozen=True, slots=True)
class Scale:
    """Shares of the clients and loads, and of the times, that a scenario names."""

    load: float
    time: float

    def clients(self, full: int) -> int:
        return max(round(full * self.load), 10)

    def rate(self, full: float) -> float:
        return max(full * self.load, 100)

    def seconds(self, full: float) -> float:
        return max(full * self.time, 1.0)


PARTITIONS, TOPICS = 16, 12

SHORT = Scale(load=0.1, time=0.2)
FULL = Scale(load=1.0, time=1.0)


@asynccontextmanager
async def running(
    s: Stage, scale: Scale, channels: list[str], rate: float, *, size: int = 0
) -> AsyncIterator[tuple[Load, Verdict]]:
    """Everybody connected and the load on, while the body makes its fault; then the verdict is filled in."""
    verdict = Verdict()
    async with Fleet(s.clients) as fleet:
        async with s.load(channels, rate=rate, size=size) as load:
            await asyncio.sleep(scale.seconds(5))
            yield load, verdict
            await asyncio.sleep(scale.seconds(5))
        await fleet.settled()
        verdict.take(await s.verdict(load))
        verdict.figures |= {"503s": load.unavailable, "loop lag": await s.loop_lag()}
    if errors := s.errors():
        verdict.figures["errors logged"] = f"{len(errors)}: {errors[0][:300]}"


async def seconds_until_live(s: Stage) -> str:
    """From now until a client is given an event."""
    started, before = time.monotonic(), s.delivered()
    await until(lambda: s.delivered() > before, within=30, what="an event is delivered again")
    return f"{time.monotonic() - started:.2f} s"


async def redis_killed(scale: Scale) -> Verdict:
    """kill -9 Redis (append-only, fsync always), back after 5 s; 500 clients, 2,000 events/s to users."""
    async with stage() as s:
        channels = s.users(scale.clients(500))
        async with running(s, scale, channels, scale.rate(2000)) as (_, verdict):
            s.redis.kill()
            await asyncio.sleep(scale.seconds(5))
            await s.redis.start()
            verdict.figures["live after"] = await seconds_until_live(s)
    return verdict


async def redis_stopped(scale: Scale) -> Verdict:
    """SIGSTOP Redis for 30 s, 500 clients, 2,000 events/s."""
    async with stage() as s:
        channels = s.users(scale.clients(500))
        async with running(s, scale, channels, scale.rate(2000)) as (_, verdict):
            stopped = time.monotonic()
            s.redis.pause()
            await until(lambda: "broker.link_lost" in s.gateways[0].log, within=10, what="the loss is noticed")
            verdict.figures["noticed after"] = f"{time.monotonic() - stopped:.2f} s"
            await asyncio.sleep(scale.seconds(30))
            s.redis.resume()
            verdict.figures["live after"] = await seconds_until_live(s)
    return verdict


async def black_hole(scale: Scale) -> Verdict:
    """The cable to Redis pulled for 90 s: every packet swallowed; 500 clients, 2,000 events/s."""
    laid = Cable.can_be_laid()
    async with stage(over_cable=laid, through_proxy=not laid) as s:
        channels = s.users(scale.clients(500))
        async with running(s, scale, channels, scale.rate(2000)) as (_, verdict):
            verdict.figures["made by"] = "a link that is down" if laid else "a proxy"
            s.swallow()
            cpu, started = cpu_seconds(s.gateways[0].pid), time.monotonic()
            await asyncio.sleep(scale.seconds(90))
            share = (cpu_seconds(s.gateways[0].pid) - cpu) / (time.monotonic() - started)
            verdict.figures["CPU meanwhile"] = f"{share:.0%}"
            await s.pass_on()
            verdict.figures["live after"] = await seconds_until_live(s)
    return verdict


async def pubsub_killed(scale: Scale) -> Verdict:
    """CLIENT KILL TYPE pubsub, twenty times in 60 s, while 200 connections/s come and go."""
    async with stage() as s:
        channels = s.users(scale.clients(500))
        admin = redis.asyncio.Redis.from_url(s.redis.url)
        churn = asyncio.create_task(come_and_go(s, scale.rate(200)))
        async with running(s, scale, channels, scale.rate(2000)) as (_, verdict):
            for _ in range(20):
                await admin.client_kill_filter(_type="pubsub")
                await asyncio.sleep(scale.seconds(60) / 20)
            churn.cancel()
            verdict.figures["came and went"] = await churn
            await until(lambda: subscriptions_are(admin, s), within=30, what="the subscribed set is the wanted one")
        await admin.aclose()
    return verdict


async def come_and_go(s: Stage, rate: float) -> int:
    """Streams of strangers, opened and dropped again at random moments, until cancelled; returns how many."""
    passed, tasks = 0, set[asyncio.Task[None]]()
    try:
        while True:
            passed += 1
            task = asyncio.create_task(visit(s, f"stranger{passed}"))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            await asyncio.sleep(1 / rate)
    except asyncio.CancelledError:
        await asyncio.gather(*tasks)
        return passed


async def visit(s: Stage, user: str) -> None:
    """Ask for a stream and leave, perhaps before it was answered."""
    gateway = random.choice(s.gateways)
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        head = f"GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {s.token(user)}\r\n\r\n"
        writer.write(head.encode())
        await asyncio.sleep(random.expovariate(50))
        writer.transport.abort()
    except OSError:
        pass


async def subscriptions_are(admin: redis.asyncio.Redis, s: Stage) -> bool:
    """Whether the server holds exactly the channels of the fleet."""
    names: list[bytes] = await admin.pubsub_channels("sse:*")  # type: ignore[assignment]
    held = {name.decode() for name in names if b":probe:" not in name}
    return held == {f"sse:{channel}" for channels in s.listens.values() for channel in channels}


async def reconnects(scale: Scale) -> Verdict:
    """1,000 reconnects with Last-Event-ID at random moments, over two gateways, while publishing 2,000/s."""
    async with stage(gateways=2) as s:
        channels = s.users(scale.clients(200))
        async with running(s, scale, [*channels, "broadcast"], scale.rate(2000)) as (_, verdict):
            for _ in range(scale.clients(1000)):
                random.choice(s.clients).drop()
                await asyncio.sleep(random.uniform(0, 0.02))
        verdict.figures["streams opened"] = sum(client.received.opened for client in s.clients)
    return verdict


async def stalled_clients(scale: Scale) -> Verdict:
    """300 of 2,000 clients stop reading, at 5,000 deliveries/s and more; later they read on and are whole."""
    async with stage(settings={"GATEWAY_SEND_TIMEOUT": "300"}) as s:
        channels = s.users(scale.clients(2000))
        stalled = s.clients[: scale.clients(300)]
        healthy = s.clients[len(stalled) :]
        to_everyone = s.load(["broadcast"], rate=2, size=1000)
        to_stalled = s.load(channels[: len(stalled)], rate=scale.rate(1000), size=4000, lanes=2)
        async with running(s, scale, channels[len(stalled) :], scale.rate(500)) as (load, verdict):
            async with to_everyone, to_stalled:
                verdict.figures["healthy p99, nobody stalled"] = await p99(healthy, scale.seconds(30))
                memory = resident_bytes(s.gateways[0].pid)
                for client in stalled:
                    client.stall()
                delivered, started = s.delivered(), time.monotonic()
                verdict.figures["healthy p99"] = await p99(healthy, scale.seconds(30))
                rate = (s.delivered() - delivered) / (time.monotonic() - started)
                verdict.figures["delivered to them"] = f"{rate:,.0f}/s"
                grown = resident_bytes(s.gateways[0].pid) - memory
                verdict.figures["memory grew by"] = f"{grown / 2**20:.0f} MiB"
                for client in stalled:
                    client.read_on()
            load.published += to_everyone.published + to_stalled.published
    return verdict


async def p99(clients: list[Client], seconds: float) -> str:
    """From publish to receipt, of what they are given in the next `seconds`."""
    seen = [len(client.received.latencies) for client in clients]
    await asyncio.sleep(seconds)
    latest = [t for client, n in zip(clients, seen, strict=True) for t in client.received.latencies[n:]]
    return f"{percentile(latest, 0.99) * 1000:.0f} ms"


async def drained(scale: Scale) -> Verdict:
    """SIGTERM with 2,000 clients: closes spread over the window, whole events, nothing lost; they go to the next."""
    seconds = scale.seconds(10)
    async with stage(gateways=2, settings={"GATEWAY_DRAIN_SECONDS": f"{seconds:g}"}) as s:
        channels = s.users(scale.clients(2000))
        leaving, staying = s.gateways
        s.gateways = [leaving]
        async with running(s, scale, [*channels, "broadcast"], scale.rate(200)) as (_, verdict):
            s.gateways = [staying]
            started = time.monotonic()
            leaving.terminate()
            verdict.figures["exit status"] = await leaving.wait(within=seconds + 15)
            verdict.figures["ended after"] = f"{time.monotonic() - started:.1f} s of {seconds:.0f}"
            closed = sorted(client.closed_at - started for client in s.clients if client.closed_at is not None)
            verdict.figures["closes spread over"] = f"{(closed[-1] - closed[0]) / seconds:.0%}"
        verdict.figures["cut inside a block"] = sum(c.received.cut_inside_a_block for c in s.clients)
        verdict.figures["told to reconnect"] = sum(c.received.told["gateway.reconnect"] for c in s.clients)
    return verdict


async def rolling_restart(scale: Scale) -> Verdict:
    """Three processes restarted one after the other; 3,000 clients, 1,000 deliveries/s."""
    seconds = scale.seconds(5)
    async with stage(gateways=3, settings={"GATEWAY_DRAIN_SECONDS": f"{seconds:g}"}) as s:
        channels = s.users(scale.clients(3000))
        async with running(s, scale, channels, scale.rate(1000)) as (_, verdict):
            for old in list(s.gateways):
                s.gateways.remove(old)
                old.terminate()
                assert await old.wait(within=seconds + 15) == 0
                new = GatewayProcess(s.settings)
                s.started.append(new)
                await new.start()
                s.gateways.append(new)
        verdict.figures["cut inside a block"] = sum(c.received.cut_inside_a_block for c in s.clients)
    return verdict


async def output_buffer_kill(scale: Scale) -> Verdict:
    """Redis drops the listener: it stands still (SIGSTOP) through a burst of 40 MB, with an output limit of 1 MB."""
    async with stage(gateways=2, client_output_buffer_limit="pubsub 1mb 1mb 60") as s:
        listener, publisher = s.gateways
        s.gateways, s.publish_to = [listener], [publisher]
        channels = s.users(20)
        async with running(s, scale, channels, 100, size=4000) as (load, verdict):
            os.kill(listener.pid, signal.SIGSTOP)
            await load.burst(round(scale.seconds(5) * 2000))
            os.kill(listener.pid, signal.SIGCONT)
        verdict.figures["links lost"] = listener.log.count("broker.link_lost")
    return verdict


async def lost_replies(scale: Scale) -> Verdict:
    """A hundred publishes whose answer from Redis is lost: one entry each, since the key is sent again."""
    async with stage(through_proxy=True) as s:
        proxy = s.proxy
        assert proxy is not None
        async with running(s, scale, s.users(20), 100) as (_, verdict):
            for count in range(1, scale.clients(100) + 1):
                proxy.lose_reply(to=b":dedupe:")
                await until(partial(has_lost, proxy, count), within=10, what="a reply is lost")
        verdict.figures["replies lost"] = proxy.lost_replies
    return verdict


def has_lost(proxy: Proxy, replies: int) -> bool:
    return proxy.lost_replies >= replies


async def mid_subscribe_leavers(scale: Scale) -> Verdict:
    """10,000 connects that leave mid-subscribe: channels, tasks and descriptors back to where they were."""
    async with stage(settings={"GATEWAY_LINGER_SECONDS": "0.5"}) as s:
        admin = redis.asyncio.Redis.from_url(s.redis.url)
        channels = s.users(20)
        async with running(s, scale, channels, 100) as (_, verdict):
            descriptors = open_descriptors(s.gateways[0].pid)
            leavers = scale.clients(10_000)
            for start in range(0, leavers, 50):
                await asyncio.gather(*(visit(s, f"leaver{start + n}") for n in range(50)))
            await until(lambda: subscriptions_are(admin, s), within=30, what="only the fleet's channels are left")
            pool = Bounds().reads + 2  # connections to Redis that stay open, to be used again
            await until(
                lambda: open_descriptors(s.gateways[0].pid) <= descriptors + pool,
                within=30,
                what=f"no more than {descriptors} + {pool} descriptors",
            )
            verdict.figures["left"] = leavers
        await admin.aclose()
    return verdict


async def sentinel_master_killed(scale: Scale) -> Verdict:
    """kill -9 the master of a service under Sentinel, one sentinel stopped; 500 clients, 2,000 events/s."""
    async with Service() as service, stage(service=service, gateways=2) as s:
        channels = s.users(scale.clients(500))
        async with running(s, scale, channels, scale.rate(2000)) as (_, verdict):
            service.sentinels[0].pause()
            service.servers[0].kill()
            await failed_over(s, service, verdict)
    return verdict


async def sentinel_master_stopped(scale: Scale) -> Verdict:
    """SIGSTOP the master and a sentinel; both go on later, each as if it still knew; 500 clients, 2,000 events/s."""
    async with Service() as service, stage(service=service, gateways=2) as s:
        channels = s.users(scale.clients(500))
        async with running(s, scale, channels, scale.rate(2000)) as (_, verdict):
            service.sentinels[0].pause()
            service.servers[0].pause()
            await failed_over(s, service, verdict)
            await asyncio.sleep(scale.seconds(10))
            service.servers[0].resume()
            service.sentinels[0].resume()
    return verdict


async def failed_over(s: Stage, service: Service, verdict: Verdict) -> None:
    failed = time.monotonic()
    promoted = await service.promoted()
    verdict.figures["promoted after"] = f"{promoted - failed:.2f} s"
    verdict.figures["live after the promotion"] = await seconds_until_live(s)
    verdict.figures["streams ended"] = sum(client.closed_at is not None for client in s.clients)


async def cluster_slots_moved(scale: Scale) -> Verdict:
    """Slots moved from node to node under load, with drops; 200 clients, a third on topics all over; 1,000 events/s."""
    async with RedisCluster() as cluster, stage(cluster=cluster, gateways=2) as s:
        channels = everywhere(s, scale.clients(200))
        async with running(s, scale, channels, scale.rate(1000)) as (_, verdict):
            moves, longest = scale.clients(20) // 2, 0.0
            for number in range(moves):
                key = f"sse:{{{number % PARTITIONS}}}:journal"
                here = await cluster.owner(key)
                started = time.monotonic()
                await cluster.move(key, next(node for node in cluster.masters if node is not here))
                longest = max(longest, time.monotonic() - started)
                random.choice(s.clients).drop()
                await asyncio.sleep(scale.seconds(2))
            verdict.figures |= {"moves": moves, "longest": f"{longest:.2f} s"}
            verdict.figures["links that moved"] = sum(g.log.count("the slot went to another node") for g in s.gateways)
    return verdict


async def cluster_node_killed(scale: Scale) -> Verdict:
    """kill -9 a master of a cluster, its replica is promoted; clients as before, 1,000 events/s."""
    async with RedisCluster(replicas=True) as cluster, stage(cluster=cluster, gateways=2) as s:
        channels = everywhere(s, scale.clients(200))
        async with running(s, scale, channels, scale.rate(1000)) as (_, verdict):
            failed = time.monotonic()
            cluster.masters[0].kill()
            promoted = await cluster.promoted(cluster.replicas[0])
            verdict.figures["promoted after"] = f"{promoted - failed:.2f} s"
            await until(lambda: all_ready(s), within=30, what="all processes hear all partitions")
            verdict.figures["ready after the promotion"] = f"{time.monotonic() - promoted:.2f} s"
            verdict.figures["streams ended"] = sum(client.closed_at is not None for client in s.clients)
    return verdict


def everywhere(s: Stage, count: int) -> list[str]:
    """So many clients, a third of them on three topics each; all channels, broadcasts too."""
    topics = [f"t{number}" for number in range(TOPICS)]
    for number in range(count):
        s.client(f"u{number}", *(random.sample(topics, 3) if number % 3 == 0 else ()))
    return [*(f"user:u{number}" for number in range(count)), *(f"topic:{topic}" for topic in topics), "broadcast"]


async def all_ready(s: Stage) -> bool:
    async with aiohttp.ClientSession() as http:
        for gateway in s.gateways:
            async with http.get(gateway.url + "/readyz") as answer:
                if answer.status != 200:
                    return False
    return True


def cpu_seconds(pid: int) -> float:
    """User and system time of a process."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def resident_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * 4096


def open_descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


Scenario = Callable[[Scale], Awaitable[Verdict]]

ALL = (
    redis_killed,
    redis_stopped,
    black_hole,
    pubsub_killed,
    reconnects,
    stalled_clients,
    drained,
    rolling_restart,
    output_buffer_kill,
    lost_replies,
    mid_subscribe_leavers,
    sentinel_master_killed,
    sentinel_master_stopped,
    cluster_slots_moved,
    cluster_node_killed,
)
