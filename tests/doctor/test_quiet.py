"""What a quiet stream's end says, by how it was cut."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web
from client.subscriber.scripted import Answer, position, scripted, stream
from servers import until

from gateway.doctor import quiet
from gateway.doctor.deployment import Deployment, Who
from gateway.doctor.report import Check, Outcome

HEARTBEAT = ":\nid: 2-0\n\n"


async def looked_at(answer: Answer, idle: float = 1.0) -> Check:
    async with scripted(answer) as server:
        deployment = Deployment(server.url, Who(user="doctor"), run="r")
        async with deployment, deployment.watch(quiet=True) as watch:
            await until(lambda: watch.is_settled)
            return await quiet.examine(watch, idle)


def after(seconds: float, *pieces: str, cut: bool = False) -> Answer:
    """A stream of these pieces, each so long after the one before, and then its end."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece.encode())
            await asyncio.sleep(seconds)
        if cut:
            assert request.transport is not None
            request.transport.abort()
        return response

    return answer


async def test_it_stays() -> None:
    """For as long as was asked."""
    check = await looked_at(stream(position(1), HEARTBEAT, ends=False), idle=0.2)
    assert (check.outcome, check.says) == (Outcome.OK, "a quiet stream stayed for 0 s, with 1 heartbeat")


async def test_it_stays_without_a_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    """When a heartbeat was due and none came, clients cannot know that it lives."""
    monkeypatch.setattr(quiet, "HEARTBEATS_DUE", 0.1)
    check = await looked_at(stream(position(1), ends=False), idle=0.2)
    assert check.outcome is Outcome.HINT
    assert "GATEWAY_HEARTBEAT_INTERVAL" in check.mend[0]


@pytest.mark.parametrize("cut", [False, True], ids=["ended", "cut"])
async def test_silence_is_not_borne(cut: bool) -> None:
    """Cut as long after the last byte as after the first: whoever cuts counts silence."""
    check = await looked_at(after(0.3, position(1), cut=cut))
    assert check.outcome is Outcome.FINDING
    assert check.says.startswith("a quiet stream was cut after 0.")
    assert check.says.endswith("silence is not borne for longer")
    assert "proxy_read_timeout" in check.mend[0]


async def test_its_whole_time_is_limited() -> None:
    """Cut though heartbeats came: whoever cuts counts from the beginning."""
    check = await looked_at(after(0.3, position(1), HEARTBEAT, HEARTBEAT, HEARTBEAT), idle=5)
    assert check.outcome is Outcome.FINDING
    assert check.says.endswith("after a heartbeat: its whole time is limited")
    assert "timeout: 0s" in " ".join(check.mend)


@pytest.mark.parametrize("told", ["gateway.expiring", "gateway.reconnect"])
async def test_the_gateway_may_end_it(told: str) -> None:
    """A token that ends or a process that drains is no proxy's fault."""
    check = await looked_at(stream(position(1), f"event: {told}\ndata: {{}}\n\n"))
    assert check.outcome is Outcome.HINT
    assert told in check.says


async def test_it_did_not_open() -> None:
    """Then there is nothing to wait for."""

    async def hang(request: Any) -> Any:
        await asyncio.Event().wait()

    async with scripted(hang) as server:
        deployment = Deployment(server.url, Who(user="doctor"), run="r")
        async with deployment, deployment.watch(quiet=True) as watch:
            check = await quiet.examine(watch, 100)
    assert check.outcome is Outcome.SKIPPED
