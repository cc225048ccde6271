"""A page's EventSource in a real Chromium, over a gateway that comes and goes."""

from __future__ import annotations

import pytest
from browser.chromium import CLOSED, browser, needs_chromium
from integration.helping import over, post, publishing, two_gateways
from redis.asyncio import Redis
from servers import until
from streams import assert_clean

from gateway.ids import EventId


@needs_chromium
@pytest.mark.slow
@pytest.mark.parametrize("end", ["killed", "drained"])
async def test_an_eventsource_survives_its_gateway(redis_url: str, prefix: str, end: str) -> None:
    """The gateway goes away twice, once before any event: the page gets every number once, in order, and no gap."""
    settings = over(redis_url, prefix, GATEWAY_RETRY_MS="300", GATEWAY_DRAIN_SECONDS="0.5")
    number = {"event_type": "number", "data": 0}

    async def away() -> None:
        if end == "killed":
            gateway.kill()
        else:
            gateway.terminate()
        await gateway.wait()

    async with (
        two_gateways(settings) as (gateway, other),
        browser(gateway) as page,
    ):
        # An event without an id of its own shows where the page thinks it is: only the id-only block can have said so.
        before = await post(other.url, "/v1/users/bob/events", number)
        async with Redis.from_url(redis_url) as redis:
            await redis.publish(f"{prefix}:user:alice", '{"event_type":"message","data":"by hand"}')
        await until(lambda: page.events, within=30, what="the event that was published by hand arrives")
        assert page.events[0]["data"] == "by hand"
        position = page.events[0]["lastEventId"]
        assert EventId(0, 0) < EventId.parse(position) <= EventId.parse(before["id"])

        await away()
        first = await post(other.url, "/v1/users/alice/events", number)
        await gateway.start()
        await until(lambda: page.numbers, within=30, what="the event of the time without a gateway arrives")
        assert page.events[-1] == {"kind": "event", "type": "number", "data": 0, "lastEventId": first["id"]}

        async with publishing(other.url, per_second=100) as published:
            await until(lambda: len(page.numbers) >= 50, within=30)
            await away()
            reached = len(published.acknowledged) + 50
            await until(lambda: len(published.acknowledged) >= reached)
            await gateway.start()
            await until(lambda: page.opened() >= 3, within=30)
            reached = len(published.acknowledged) + 20
            await until(lambda: len(published.acknowledged) >= reached)
        expected = [0, *published.acknowledged]
        await until(lambda: len(page.numbers) >= len(expected), within=30)
        assert_clean(page.numbers, expected)

    told = {event["type"] for event in page.events}
    assert told == {"message", "number"} | ({"gateway.reconnect"} if end == "drained" else set())
    assert not [report for report in page.reports if report.get("readyState") == CLOSED]
    ids = [tuple(map(int, event["lastEventId"].split("-"))) for event in page.events if event["type"] == "number"]
    assert ids == sorted(set(ids))
