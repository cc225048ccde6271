"""Whether new streams should come here, and whether only a restart can help: all reasons, and what is made of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from servers import until
from streams import Stream
from web.inprocess import Served, served

from gateway.broker.registry import Fleet
from gateway.telemetry.lag import LAGGING_AFTER
from gateway.web.readiness import NAMES, Readiness, standing

FULL = "full: 1 of 1 streams (GATEWAY_MAX_CONNECTIONS)"


async def asked(gateway: Served, path: str = "/readyz") -> tuple[int, dict[str, Any]]:
    async with gateway.http.get(path) as response:
        return response.status, await response.json(content_type=None)


def fleet_of(gateway: Served, monkeypatch: pytest.MonkeyPatch, living: int, overloaded: int) -> None:
    """As if so many processes lived, and so many of the others had too much to do."""
    monkeypatch.setattr(gateway.gateway.registry, "fleet", lambda: Fleet(living, overloaded))


def late(gateway: Served, seconds: float) -> None:
    """As if the loop had been so late for a while."""
    lagging, now = gateway.gateway.overload.lagging, asyncio.get_running_loop().time()
    lagging.observe(seconds, now)
    lagging.observe(seconds, now + LAGGING_AFTER)


def series(gateway: Served) -> dict[str, float]:
    """What the metrics say, by name, or by reason."""
    families = Readiness(gateway.gateway).collect()
    return {sample.labels.get("reason", sample.name): sample.value for family in families for sample in family.samples}


async def test_a_draining_process_is_not_ready(gateway: Served) -> None:
    """A balancer is told at once, while the process is alive."""
    gateway.gateway.draining = True
    assert await asked(gateway) == (503, {"status": "unavailable", "reasons": ["draining"]})
    assert await asked(gateway, "/livez") == (200, {"status": "ok"})
    assert series(gateway)["gateway_draining"] == 1


async def test_all_reasons_are_told(gateway: Served) -> None:
    """Whoever looks sees everything that is wrong at once."""
    gateway.gateway.draining = True
    gateway.gateway.failed.append("heartbeat has ended")
    late(gateway, 0.7)
    await gateway.gateway.relay.broker.close()
    _, answer = await asked(gateway)
    assert answer["reasons"] == [
        "heartbeat has ended",
        "draining",
        "broker: the broker is closed",
        "lagging: the event loop was late for 3 s by 0.5 s or more (GATEWAY_READY_MAX_LAG)",
    ]
    told = series(gateway)
    assert [name for name in NAMES if told[name]] == ["task", "draining", "broker", "lagging"]
    assert told["gateway_ready"] == 0


async def test_a_ready_process_is_told_so(gateway: Served) -> None:
    """In metrics as in /readyz."""
    told = series(gateway)
    assert told["gateway_ready"] == 1
    assert told["gateway_processes"] == 1
    assert not any(told[name] for name in NAMES)


# Only a restart can help


async def test_a_task_that_died_is_for_a_restart(gateway: Served) -> None:
    """What is to run as long as the process does, and has ended, nobody starts again but a new process."""
    gateway.gateway.failed.append("heartbeat has ended")
    assert await asked(gateway, "/livez") == (503, {"status": "failed", "reasons": ["heartbeat has ended"]})
    assert (await asked(gateway))[0] == 503


@pytest.mark.parametrize("name", ["redis-link", "redis-census"])
async def test_an_owner_that_ended_is_for_a_restart(name: str, redis_url: str, prefix: str) -> None:
    """The task that owns the link, or the one that counts with the others: without it the process is deaf for good."""
    async with served(broker_url=redis_url, channel_prefix=prefix) as gateway:
        await until(lambda: gateway.gateway.relay.health() is None)
        (owner,) = [task for task in asyncio.all_tasks() if task.get_name() == name]
        owner.cancel()
        await asyncio.wait({owner})
        status, answer = await asked(gateway, "/livez")
        assert (status, answer["status"]) == (503, "failed")
        assert answer["reasons"][0].endswith("has ended")
        assert (await asked(gateway))[0] == 503


# Too much to do


async def test_a_full_process_is_not_ready() -> None:
    """As many streams as it may have; ready again when one has left."""
    async with served(max_connections=1) as gateway:
        assert series(gateway)["gateway_connections_limit"] == 1
        async with Stream(gateway.url, "user=alice"):
            assert await asked(gateway) == (503, {"status": "unavailable", "reasons": [FULL]})
            assert (await asked(gateway, "/livez"))[0] == 200
        await until(lambda: not gateway.gateway.hub.connections)
        assert (await asked(gateway))[0] == 200


async def test_a_lagging_process_is_not_ready(gateway: Served) -> None:
    """A loop that is late for good; its streams stay."""
    async with Stream(gateway.url, "user=alice") as stream:
        late(gateway, 2)
        status, answer = await asked(gateway)
        assert status == 503
        assert answer["reasons"][0].startswith("lagging: ")
        assert stream.ended_at is None
        late(gateway, 0)
        assert (await asked(gateway))[0] == 200


@pytest.mark.parametrize(
    ("living", "overloaded", "ready"),
    [(1, 0, False), (2, 0, False), (2, 1, True), (3, 0, False), (3, 1, True), (10, 4, False), (10, 5, True)],
)
async def test_not_all_go_at_once(living: int, overloaded: int, ready: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is the same with most of several processes, having too much to do is told and no reason any more."""
    async with served(max_connections=1) as gateway, Stream(gateway.url, "user=alice"):
        fleet_of(gateway, monkeypatch, living, overloaded)
        status, answer = await asked(gateway)
        assert (status == 200) is ready
        assert answer["overloaded" if ready else "reasons"] == [FULL]
        told = series(gateway)
        assert (told["gateway_ready"] == 1) is ready
        assert told["full"] == 1, "the series say what is the matter all the same"


async def test_what_is_the_matter_with_itself_is_a_reason_in_any_crowd(monkeypatch: pytest.MonkeyPatch) -> None:
    """A draining process is not ready, however busy the others are."""
    async with served(max_connections=1) as gateway, Stream(gateway.url, "user=alice"):
        fleet_of(gateway, monkeypatch, 2, 1)
        gateway.gateway.draining = True
        status, answer = await asked(gateway)
        assert (status, answer["reasons"], answer["overloaded"]) == (503, ["draining"], [FULL])


@asynccontextmanager
async def full_ones(count: int, redis_url: str, prefix: str) -> AsyncIterator[list[Served]]:
    """So many processes over one Redis, each with as many streams as it may have."""
    async with AsyncExitStack() as stack:
        gateways = [
            await stack.enter_async_context(
                served(broker_url=redis_url, channel_prefix=prefix, max_connections=1, max_connections_per_user=0)
            )
            for _ in range(count)
        ]
        for gateway in gateways:
            await stack.enter_async_context(Stream(gateway.url, "user=alice"))
        yield gateways


async def ready_ones(gateways: Collection[Served]) -> int:
    return sum([(await asked(gateway))[0] == 200 for gateway in gateways])


async def test_processes_that_are_all_full_stay_ready(redis_url: str, prefix: str) -> None:
    """They tell each other over Redis: with one of two full that one is not ready, with both full both are."""
    async with full_ones(2, redis_url, prefix) as gateways:

        async def all_ready() -> bool:
            return await ready_ones(gateways) == 2

        await until(all_ready)
        for gateway in gateways:
            assert await asked(gateway) == (200, {"status": "ok", "overloaded": [FULL]})
            assert series(gateway)["gateway_processes"] == 2
        one, _ = gateways
        (connection,) = one.gateway.hub.connections
        one.gateway.relay.leave(connection)  # it has room now
        other = gateways[1:]

        async def only_one_ready() -> bool:
            return await ready_ones(other) == 0 and await ready_ones([one]) == 1

        await until(only_one_ready)
        one.gateway.hub.join(connection)


# A prober that knows better


async def test_a_prober_may_leave_out_reasons(gateway: Served) -> None:
    """Each by its name, several joined by commas or said one after the other."""
    gateway.gateway.draining = True
    late(gateway, 2)
    assert (await asked(gateway, "/readyz?exclude=draining"))[1]["reasons"][0].startswith("lagging")
    assert (await asked(gateway, "/readyz?exclude=lagging"))[1]["reasons"] == ["draining"]
    for query in ("exclude=lagging,draining", "exclude=lagging&exclude=draining"):
        assert await asked(gateway, f"/readyz?{query}") == (200, {"status": "ok"})


async def test_a_reason_that_is_none_is_refused(gateway: Served) -> None:
    """A typo does not leave a prober looking at something else than it thinks."""
    status, answer = await asked(gateway, "/readyz?exclude=broker,drain")
    assert status == 400
    assert answer["field"] == "exclude"
    assert all(name in answer["detail"] for name in ("'drain'", *NAMES))


async def test_nothing_is_wrong_twice(gateway: Served) -> None:
    """Asking is no observation: two probes in a row are told the same."""
    assert standing(gateway.gateway) == standing(gateway.gateway) == ([], [])
