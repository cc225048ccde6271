"""`gateway serve --workers`: several processes on one port, that look like one gateway."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from contextlib import AsyncExitStack

import aiohttp
import pytest
from integration.helping import over, post, status_of
from servers import GatewayProcess, RedisServer, until
from streams import Stream

EVENT = {"event_type": "x", "data": 1}
STREAMS = 24  # that all are on one of two workers has a chance of 1 in 8 million


def workers(redis_url: str, prefix: str, **more: str) -> GatewayProcess:
    settings = over(redis_url, prefix, GATEWAY_WORKERS="2", GATEWAY_LOG_FORMAT="json", **more)
    return GatewayProcess(settings, "--dev")


async def series(gateway: GatewayProcess, name: str) -> dict[str, float]:
    """The value of a series by worker, summed over its other labels."""
    async with aiohttp.ClientSession() as http, http.get(gateway.url + "/metrics") as response:
        text = await response.text()
    values: dict[str, float] = {}
    for worker, value in re.findall(rf'^{name}{{[^}}]*worker="(\d)"[^}}]*}} (\S+)$', text, re.MULTILINE):
        values[worker] = values.get(worker, 0) + float(value)
    return values


async def clocks_known(gateway: GatewayProcess) -> bool:
    """Before it has heard a probe, a worker knows nothing of the clock by which events are late."""
    return len(await series(gateway, "gateway_broker_clock_ahead_seconds")) == 2


def pids(gateway: GatewayProcess) -> list[int]:
    """Of the workers; the resource tracker of `multiprocessing` is a child too."""
    found = []
    with open(f"/proc/{gateway.pid}/task/{gateway.pid}/children") as children:
        for pid in map(int, children.read().split()):
            with open(f"/proc/{pid}/cmdline") as cmdline:
                if "spawn_main" in cmdline.read():
                    found.append(pid)
    return found


async def all_ready(gateway: GatewayProcess) -> bool:
    return (await status_of(gateway.url, "/readyz"))[0] == 200


async def test_streams_are_spread_and_all_hear(redis_url: str, prefix: str) -> None:
    """New streams go to both workers, an event published to one reaches the streams of both; metrics show all."""
    async with workers(redis_url, prefix) as gateway, AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(Stream(gateway.url, f"user=u{n}")) for n in range(STREAMS)]
        await until(lambda: clocks_known(gateway), what="both have heard a probe")
        await post(gateway.url, "/v1/broadcast", EVENT)
        for stream in streams:
            assert (await stream.next()).type == "x"
        open_streams = await series(gateway, "gateway_connections")
        assert sum(open_streams.values()) == STREAMS
        assert set(open_streams) == {"0", "1"}
        assert all(open_streams.values()), f"all on one worker: {open_streams}"
        assert sum((await series(gateway, "gateway_events_delivered_total")).values()) == STREAMS
        assert await series(gateway, "gateway_worker_up") == {"0": 1, "1": 1}
        latencies = await series(gateway, "gateway_event_latency_seconds_count")
        assert latencies == {"0": 1, "1": 1}, "a histogram is merged as any other series"
        assert set(await series(gateway, "process_open_fds")) == {"0", "1"}
        assert await series(gateway, "gateway_event_latency_seconds_created") == {}


async def test_a_drain_is_the_drain_of_all(redis_url: str, prefix: str) -> None:
    """SIGTERM to the parent: every stream of every worker is told, and the exit status is 0."""
    async with workers(redis_url, prefix, GATEWAY_DRAIN_SECONDS="0.5") as gateway, AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(Stream(gateway.url, f"user=u{n}")) for n in range(STREAMS)]
        gateway.terminate()
        assert await gateway.wait(within=20) == 0
        for stream in streams:
            await stream.end()
            assert stream.types == ["gateway.reconnect"]
        closed = [json.loads(line) for line in gateway.log.splitlines() if "stream.closed" in line]
        assert len(closed) == STREAMS
        assert {line["worker"] for line in closed} == {0, 1}
    assert gateway_has_no_children_left(gateway)


def gateway_has_no_children_left(gateway: GatewayProcess) -> bool:
    return not os.path.exists(f"/proc/{gateway.pid}")


async def test_a_worker_that_dies_is_started_again(redis_url: str, prefix: str) -> None:
    """The others go on, readiness names it while it is away, and its streams come back to whoever is there."""
    async with workers(redis_url, prefix) as gateway:
        victim, other = pids(gateway)
        os.kill(victim, signal.SIGSTOP)
        reasons = await until(lambda: unready_because(gateway, other), within=15, what="readiness names the worker")
        assert any(re.fullmatch(r"worker \d: does not answer", reason) for reason in reasons)
        os.kill(victim, signal.SIGKILL)
        await until(lambda: len(pids(gateway)) == 2 and victim not in pids(gateway), within=15)
        await until(lambda: all_ready(gateway), within=15)
        died = [json.loads(line) for line in gateway.log.splitlines() if "worker.died" in line]
        assert [line["status"] for line in died] == [-signal.SIGKILL]
        async with Stream(gateway.url, "user=alice") as stream:
            await post(gateway.url, "/v1/users/alice/events", EVENT)
            await stream.next()


async def unready_because(gateway: GatewayProcess, other: int) -> list[str]:
    """Asks until the worker that still runs was the one to answer."""
    try:
        async with asyncio.timeout(3):
            return list((await status_of(gateway.url, "/readyz"))[1].get("reasons", []))
    except TimeoutError:
        return []  # the kernel gave the question to the worker that stands still


async def test_workers_do_not_outlive_their_parent(redis_url: str, prefix: str) -> None:
    """A parent that is killed leaves no processes behind."""
    async with workers(redis_url, prefix, GATEWAY_DRAIN_SECONDS="0") as gateway:
        orphans = pids(gateway)
        assert len(orphans) == 2
        gateway.kill()
        await gateway.wait()
        await until(lambda: not any(map(is_running, orphans)), within=15)
        assert "worker.orphaned" in gateway.log


def is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_a_port_that_is_taken_is_said_once(redis_url: str, prefix: str, redis_server: RedisServer) -> None:
    """Before any worker is started, in one line, with exit status 2."""
    gateway = workers(redis_url, prefix, GATEWAY_PORT=str(redis_server.port))
    with pytest.raises(AssertionError, match="status 2") as raised:
        async with gateway:
            pass
    assert str(raised.value).count("GATEWAY_PORT") == 1
    assert "Traceback" not in str(raised.value)


async def test_only_one_is_there_without_the_setting(redis_url: str, prefix: str) -> None:
    """One worker is the process itself, and its series have no label of a worker."""
    async with GatewayProcess(over(redis_url, prefix), "--dev") as gateway:
        assert pids(gateway) == []
        assert await series(gateway, "gateway_connections") == {}
