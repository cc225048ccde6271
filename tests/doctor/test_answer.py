"""What the head of a stream's answer says to the doctor."""

from __future__ import annotations

import email.utils
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from client.subscriber.scripted import position, scripted
from servers import until

from gateway.doctor import answer
from gateway.doctor.deployment import Deployment, Who
from gateway.doctor.report import Check, Outcome
from gateway.doctor.watch import Watch

GOOD = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}


@asynccontextmanager
async def opened(headers: Mapping[str, str]) -> AsyncIterator[Watch]:
    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        await response.write(position(1).encode())
        return response

    async with scripted(stream) as server:
        deployment = Deployment(server.url, Who(user="doctor"), run="r")
        async with deployment, deployment.watch() as watch:
            await until(lambda: watch.opened_at is not None)
            yield watch


async def headers(**changed: str | None) -> list[Check]:
    named = {name.replace("_", "-"): value for name, value in changed.items()}
    async with opened({name: value for name, value in (GOOD | named).items() if value is not None}) as watch:
        return answer.headers(watch)


async def test_they_are_well() -> None:
    """Each is there."""
    [check] = await headers()
    assert check.outcome is Outcome.OK
    [check] = await headers(Cache_Control="no-cache, no-transform", Age="0", X_Cache="MISS")
    assert check.outcome is Outcome.OK


@pytest.mark.parametrize(
    ("changed", "name", "said"),
    [
        ({"Cache_Control": None}, "caching", "there is no Cache-Control: what is between may keep a stream"),
        ({"Cache_Control": "max-age=5"}, "caching", "Cache-Control is 'max-age=5': "),
        ({"Age": "7"}, "caching", "the stream came from a cache (Age: 7)"),
        ({"X_Cache": "Hit from edge"}, "caching", "the stream came from a cache (X-Cache: Hit from edge)"),
        ({"X_Accel_Buffering": None}, "headers", "X-Accel-Buffering: no does not get through"),
        ({"X_Accel_Buffering": "yes"}, "headers", "X-Accel-Buffering: no does not get through"),
    ],
)
async def test_one_is_not(changed: dict[str, str | None], name: str, said: str) -> None:
    """It is named, with what mends it."""
    [check] = await headers(**changed)
    assert (check.name, check.outcome) == (name, Outcome.FINDING)
    assert check.says.startswith(said)
    assert check.mend


@pytest.mark.parametrize("seconds", [-3600, 3600])
async def test_a_clock_that_is_wrong(seconds: float) -> None:
    """Of what answers, by its Date; of the broker, by the ids."""
    date = email.utils.formatdate(time.time() + seconds, usegmt=True)
    where = "ahead" if seconds > 0 else "behind"
    async with opened(GOOD | {"Date": date}) as watch:
        check = answer.clocks(watch, None)
    assert check.outcome is Outcome.FINDING
    assert check.says.startswith("by our clock what answers (its Date) is 3")
    assert check.says.endswith(where)
    async with opened(GOOD) as watch:
        check = answer.clocks(watch, seconds)
    assert check.says == f"by our clock the broker (its event ids) is 3600 s {where}"


async def test_clocks_that_are_right() -> None:
    """A Date says no more than the second: that is no fault."""
    async with opened(GOOD) as watch:
        assert answer.clocks(watch, 0.2).outcome is Outcome.OK
        assert answer.clocks(watch, None).says == "within 0.0 s of ours"
