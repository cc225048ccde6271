"""When Redis takes less than is published: publishers are told at once, and what was accepted is not lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from typing import Any

import pytest
from servers import RedisServer, until
from streams import Stream
from structlog.testing import capture_logs
from web.inprocess import Served, kept, post, served

from gateway.telemetry.sparing import Sparing
from gateway.web import publish_log

WAITING, MORE = 50, 30


def is_calling(gateway: Served) -> bool:
    broker: Any = gateway.gateway.relay.broker
    return not broker._publisher._lane.done()


def waits(gateway: Served, events: int) -> bool:
    return gateway.gateway.relay.broker.stats.waiting_events == events


async def test_more_than_redis_takes(redis_server: RedisServer, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as may wait are stored and delivered once Redis goes on, in order; the others had a 503, and are not."""
    monkeypatch.setattr(publish_log, "_sparing", Sparing())
    settings: dict[str, Any] = {"broker_url": redis_server.url, "channel_prefix": prefix, "publish_timeout": 60}
    limits = {"max_waiting_events": WAITING, "max_batch_events": 10}
    async with served(**settings, **limits) as gateway, Stream(gateway.url, "user=alice") as stream:
        stats, metrics = gateway.gateway.relay.broker.stats, gateway.gateway.metrics.registry
        await gateway.publish("alice", "first", -1)
        await stream.next_of("first")

        async def publish(number: int) -> tuple[int, Any]:
            return await post(gateway, {"event_type": "x", "data": number})

        redis_server.pause()
        under_way = asyncio.create_task(publish(0))
        await until(lambda: is_calling(gateway) and not stats.waiting_events, what="the first is under way")
        waiting = []
        for number in range(1, WAITING + 1):
            waiting.append(asyncio.create_task(publish(number)))
            await until(partial(waits, gateway, number), what=f"{number} wait")
        with capture_logs() as lines:
            refused = await asyncio.gather(*(publish(1000 + n) for n in range(MORE)))
        assert Counter(status for status, _ in refused) == {503: MORE}
        problem = refused[0][1]
        assert problem["type"] == "urn:event-gateway:problem:overloaded"
        assert "GATEWAY_MAX_WAITING_EVENTS" in problem["detail"]
        assert "not known" not in problem["detail"]
        assert metrics.get_sample_value("gateway_publishes_refused_total", {"reason": "overloaded"}) == MORE
        assert metrics.get_sample_value("gateway_publish_waiting_events") == WAITING
        assert {(line["event"], line["outcome"]) for line in lines} == {("publish.answered", "overloaded")}

        redis_server.resume()
        answered = await asyncio.gather(under_way, *waiting)
        assert {status for status, _ in answered} == {202}
        expected = list(range(WAITING + 1))
        await stream.count(len(expected) + 1, within=20)
        assert stream.data("x") == expected
        assert [data for kind, data in await kept(gateway) if kind == "x"] == expected
        assert metrics.get_sample_value("gateway_publish_waiting_events") == 0
