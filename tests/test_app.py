"""A process put together, watched, drained and taken down."""

from __future__ import annotations

import asyncio
import json
import re
import time

import pytest
from aiohttp import web
from integration.helping import gateway_command
from servers import until
from streams import Stream
from structlog.testing import capture_logs
from web.inprocess import SECRET, served

from gateway import app as gateway_app
from gateway.app import build, drain
from gateway.config import ConfigError, PublishKey, Settings
from gateway.hub.hub import Hub
from gateway.web.context import GATEWAY


@pytest.mark.parametrize("url", ["redis+cluster://user:hunter2@h1:7000/1", "redis+sentinel://user:hunter2@h1:26379"])
def test_a_broker_url_that_cannot_be_used_is_refused(url: str) -> None:
    """It is a start-up error that names the setting, without the password."""
    with pytest.raises(ConfigError, match="GATEWAY_BROKER_URL") as raised:
        build(Settings(broker_url=url))
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("setting", "url"), [("GATEWAY_REDIS_CA_FILE", "rediss://h"), ("GATEWAY_REDIS_CA_FILE", "redis://h")]
)
def test_a_ca_file_that_is_not_there_or_not_used_is_refused(setting: str, url: str) -> None:
    """A start-up error names the setting of the file, not of the URL."""
    with pytest.raises(ConfigError, match=f"^{setting}: "):
        build(Settings(broker_url=url, redis_ca_file="/nowhere/ca.pem"))


def test_serving_without_authentication_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """`run` does not start a gateway that could not tell anybody from a stranger."""
    monkeypatch.setattr("gateway.telemetry.logging.configure", lambda **_: None)
    with pytest.raises(ConfigError, match="GATEWAY_JWT_SECRET"):
        gateway_app.run(Settings())
    with pytest.raises(ConfigError, match="GATEWAY_PUBLISH_KEYS"):
        gateway_app.run(Settings(jwt_secret=SECRET))
    with pytest.raises(ConfigError, match="GATEWAY_JWT_SECRET"):
        gateway_app.run(Settings(publish_keys=(PublishKey("k", "k"),)))


async def test_a_background_task_that_dies_is_for_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its heartbeat a process looks alive and is not: /readyz and /livez name the task, the log says why."""
    dies = asyncio.Event()

    async def beat(hub: Hub, interval: float) -> None:
        await dies.wait()
        raise ZeroDivisionError("heartbeat")

    monkeypatch.setattr(gateway_app, "beat", beat)
    with capture_logs() as logs:
        async with served() as gateway:
            async with gateway.http.get("/readyz") as response:
                assert response.status == 200
            dies.set()
            await until(lambda: gateway.gateway.failed)
            for path in ("/readyz", "/livez"):
                async with gateway.http.get(path) as response:
                    assert response.status == 503
                    assert (await response.json())["reasons"] == ["heartbeat has ended"]
    assert [line["task"] for line in logs if line["event"] == "task.died"] == ["heartbeat"]


async def test_an_orderly_end_is_no_death() -> None:
    """Taking a process down cancels its tasks, and none of them counts as failed."""
    with capture_logs() as logs:
        async with served() as gateway:
            pass
    assert gateway.gateway.failed == []
    assert not [line for line in logs if line["log_level"] == "error"]


async def test_nothing_is_left_running() -> None:
    """After a process was taken down no task of it remains."""
    before = asyncio.all_tasks()
    async with served() as gateway, Stream(gateway.url, "user=alice") as stream:
        await stream.position()
    await until(lambda: asyncio.all_tasks() <= before, what="its tasks are over")


async def test_a_drain_spreads_the_ends() -> None:
    """Over the drain time streams are ended evenly, told to come back, whole, and spread by their retry."""
    async with served(drain_seconds=2.0, retry_ms=1000) as gateway:
        streams = [Stream(gateway.url, f"user=u{number}") for number in range(20)]
        await asyncio.gather(*(stream.open() for stream in streams))
        try:
            began = time.time()
            draining = asyncio.create_task(drain(gateway.gateway, gateway.gateway.settings.drain_seconds))
            ends = sorted([await stream.end() - began for stream in streams])
            await draining
        finally:
            await asyncio.gather(*(stream.close() for stream in streams))
    assert ends[-1] < 2.5
    assert ends[-1] - ends[0] > 1.5
    halves = sum(end < 1 for end in ends)
    assert 7 <= halves <= 13
    for stream in streams:
        assert not stream.cut
        assert stream.types == ["gateway.reconnect"]
        told = json.loads(stream.events[0].data)["retry"]
        assert 500 <= told <= 1500
        assert stream.retry == told
    assert len({stream.retry for stream in streams}) > 5


async def test_a_drain_is_in_random_order() -> None:
    """The oldest streams are not always the first to go."""
    async with served(drain_seconds=0.5) as gateway:
        streams = [Stream(gateway.url, f"user=u{number:02}") for number in range(20)]
        for stream in streams:
            await stream.open()
        try:
            await drain(gateway.gateway, gateway.gateway.settings.drain_seconds)
            ends = [await stream.end() for stream in streams]
        finally:
            await asyncio.gather(*(stream.close() for stream in streams))
    assert ends != sorted(ends)


async def test_a_drain_of_nothing_is_over_at_once() -> None:
    """Without streams there is nothing to wait for."""
    async with served(drain_seconds=60) as gateway:
        async with asyncio.timeout(2):
            await drain(gateway.gateway, gateway.gateway.settings.drain_seconds)
        assert gateway.gateway.draining


async def test_events_that_were_on_their_way_arrive_before_the_end() -> None:
    """What was answered 202 before the drain is on the wire before its stream ends."""
    async with served(drain_seconds=0, join_window_ms=200) as gateway, Stream(gateway.url, "user=alice") as stream:
        for number in range(50):
            await gateway.publish("alice", data=number)
        await drain(gateway.gateway, gateway.gateway.settings.drain_seconds)
        await stream.end()
        assert not stream.cut
        resumed = stream.resumed()
        seen = [json.loads(event.data) for event in stream.events if event.type == "x"]
        assert seen == list(range(len(seen)))
        gateway.gateway.draining = False
        async with resumed:
            await resumed.count(50 - len(seen))
            assert seen + resumed.data() == list(range(50))


def test_an_application_is_self_contained() -> None:
    """Two applications in one process share nothing."""
    one, two = build(Settings(dev=True)), build(Settings(dev=True))
    assert isinstance(one, web.Application)
    assert one[GATEWAY].hub is not two[GATEWAY].hub
    assert one[GATEWAY].metrics.registry is not two[GATEWAY].metrics.registry


async def test_a_gateway_without_the_c_parser_does_not_start() -> None:
    """aiohttp's Python parser reads some requests otherwise than proxies do; that is said, with what to do."""
    outcome = await gateway_command("serve", "--dev", "--port", "0", env={"AIOHTTP_NO_EXTENSIONS": "1"})
    assert outcome.status == 2
    assert outcome.out == ""
    assert re.fullmatch("gateway: aiohttp's C parser is not in use.*unset AIOHTTP_NO_EXTENSIONS.*\n", outcome.err)
