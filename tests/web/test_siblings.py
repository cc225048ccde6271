"""Workers that answer for each other: here two gateways of one process, which take each other for workers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest_asyncio
from web.inprocess import Served, served

from gateway.web import sites
from gateway.web.context import Place


class Workers(NamedTuple):
    one: Served
    two: Served

    async def asked(self, path: str) -> tuple[int, dict[str, Any]]:
        """What the first says, of both."""
        async with self.one.http.get(path) as response:
            return response.status, await response.json(content_type=None)


@asynccontextmanager
async def telling(gateway: Served, place: Place) -> AsyncIterator[None]:
    """`gateway` is at this place, and answers the others on its socket."""
    gateway.gateway.place = place
    generator = sites.telling_the_others(gateway.app)
    await anext(generator)
    try:
        yield
    finally:
        await anext(generator, None)
        gateway.gateway.place = None


@pytest_asyncio.fixture
async def workers(tmp_path: Path) -> AsyncIterator[Workers]:
    async with (
        served() as one,
        served() as two,
        telling(one, Place(0, 2, str(tmp_path))),
        telling(two, Place(1, 2, str(tmp_path))),
    ):
        yield Workers(one, two)


async def test_all_is_well(workers: Workers) -> None:
    """Of both."""
    for path in ("/livez", "/readyz"):
        assert await workers.asked(path) == (200, {"status": "ok"})


async def test_readiness_is_that_of_all(workers: Workers) -> None:
    """A worker that is not ready makes all of it unready, and is named."""
    workers.two.gateway.draining = True
    reasons = ["worker 1: draining"]
    assert await workers.asked("/readyz") == (503, {"status": "unavailable", "reasons": reasons})
    assert await workers.asked("/livez") == (200, {"status": "ok"})
    workers.one.gateway.draining = True
    assert (await workers.asked("/readyz"))[1]["reasons"] == ["worker 0: draining", *reasons]


async def test_what_a_prober_leaves_out_the_others_leave_out(workers: Workers) -> None:
    """The question is passed on as it was asked."""
    workers.two.gateway.draining = True
    assert await workers.asked("/readyz?exclude=draining") == (200, {"status": "ok"})
    assert (await workers.asked("/readyz?exclude=draining,none"))[0] == 400


async def test_one_that_must_be_restarted_is_for_a_restart_of_all(workers: Workers) -> None:
    """Whoever restarts the process restarts its workers."""
    workers.two.gateway.failed.append("heartbeat has ended")
    expected = {"status": "failed", "reasons": ["worker 1: heartbeat has ended"]}
    assert await workers.asked("/livez") == (503, expected)


async def test_one_that_does_not_answer_is_not_ready_and_not_dead(workers: Workers, tmp_path: Path) -> None:
    """It may be busy, or be started again just now: a restart of all would make that worse."""
    (tmp_path / "1.sock").unlink()
    assert (await workers.asked("/readyz"))[1]["reasons"] == ["worker 1: does not answer"]
    assert await workers.asked("/livez") == (200, {"status": "ok"})
