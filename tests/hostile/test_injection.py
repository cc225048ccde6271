"""Nobody can forge a field, an event or an id, whatever is published and however, in the eyes of any client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from browser.chromium import browser, needs_chromium
from hostile.poison import Attempt, by_hand, published, stored
from hostile.readers import LAST, READERS, Seen
from npm import need_node
from redis.asyncio import Redis
from servers import until
from web.inprocess import JSON, Served, served
from yarl import URL


class Expected:
    """What a subscriber shall see: decoded data, and the id where the event has one of its own."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, str | None]] = []

    def check(self, seen: list[Seen]) -> None:
        """The events in order, and nothing else up to the last."""
        assert [event.type for event in seen] == ["x"] * len(self.events) + [LAST]
        got = [(json.loads(event.data), event.id) for event in seen[:-1]]
        assert [data for data, _ in got] == [data for data, _ in self.events]
        for (_, id), (_, expected) in zip(got, self.events, strict=True):
            assert expected is None or id in (expected, "")
            assert id != "9-9"


@pytest.fixture(params=READERS)
def reader(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name == "npm eventsource":
        need_node()
    return name


@pytest_asyncio.fixture
async def gateway(redis_url: str, prefix: str) -> AsyncIterator[Served]:
    async with served(broker_url=redis_url, channel_prefix=prefix) as running:
        await until(lambda: running.gateway.relay.health() is None, what="the link is up")
        yield running


@pytest_asyncio.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url) as client:
        yield client


async def publish_all(gateway: Served) -> list[tuple[Any, str | None]]:
    """Over HTTP; what was taken. Nothing is answered but 202 for what can be sent, and 400 or 404 for the rest."""
    taken: list[tuple[Any, str | None]] = []
    for attempt in published():
        url = URL(gateway.url + attempt.path, encoded=True)
        async with gateway.http.post(url, data=attempt.body, headers=JSON) as response:
            body = await response.text()
            assert response.status in ((202,) if attempt.ok else (400, 404)), f"{attempt.name}: {body}"
            assert "forged" not in response.headers
        if attempt.ok:
            taken.append((attempt.data, json.loads(body)["id"]))
    return taken


async def announce_all(gateway: Served, redis: Redis, prefix: str) -> list[tuple[Any, str | None]]:
    """By hand, and with ids as the gateway's own script announces; what shall arrive."""
    taken: list[tuple[Any, str | None]] = []
    channel = f"{prefix}:user:alice"
    for attempt in by_hand():
        assert await redis.publish(channel, attempt.body) == 1
        taken += [(attempt.data, None)] if attempt.ok else []
    for attempt, previous in stored():
        id = await next_id(redis, prefix)
        place = f'{{"id":"{id}","previous":{json.dumps(previous.decode())},'.encode()
        assert await redis.publish(channel, place + attempt.body[1:]) == 1
        taken += [(attempt.data, id)] if attempt.ok else []
    return taken


async def next_id(redis: Redis, prefix: str) -> str:
    id = await redis.xadd(f"{prefix}:journal", {"c": "user:alice"})
    assert isinstance(id, bytes)
    return id.decode()


async def test_live(gateway: Served, redis: Redis, prefix: str, reader: str) -> None:
    """What is sent by HTTP and by hand reaches a client as the data it is, or not at all."""
    reading = asyncio.create_task(READERS[reader](f"{gateway.url}/v1/events?user=alice"))
    await until(lambda: gateway.gateway.hub.connections or reading.done(), what="the client is connected")
    expected = Expected()
    expected.events = await publish_all(gateway) + await announce_all(gateway, redis, prefix)
    await gateway.publish("alice", LAST)
    expected.check(await asyncio.wait_for(reading, 20))


async def test_replayed(gateway: Served, reader: str) -> None:
    """The same from the history."""
    expected = Expected()
    expected.events = await publish_all(gateway)
    await gateway.publish("alice", LAST)
    replay = f"{gateway.url}/v1/events?user=alice&last_event_id=earliest"
    expected.check(await asyncio.wait_for(READERS[reader](replay), 20))


async def test_a_history_that_others_wrote(gateway: Served, redis: Redis, prefix: str, reader: str) -> None:
    """Entries that are no events are passed over, and the others hold nothing but their data."""
    expected = Expected()
    for attempt, previous in stored():
        id = await next_id(redis, prefix)
        await redis.xadd(f"{prefix}:history:user:alice", {"e": attempt.body, "p": previous}, id=id)
        expected.events += [(attempt.data, id)] if attempt.ok else []
    await gateway.publish("alice", LAST)
    replay = f"{gateway.url}/v1/events?user=alice&last_event_id=earliest"
    expected.check(await asyncio.wait_for(READERS[reader](replay), 20))


@needs_chromium
async def test_a_browser(gateway: Served, redis: Redis, prefix: str) -> None:
    """Chromium's EventSource sees the same."""
    expected = Expected()
    async with browser(gateway) as page:
        expected.events = await publish_all(gateway) + await announce_all(gateway, redis, prefix)
        await gateway.publish("alice", LAST)
        await until(lambda: any(event["type"] == LAST for event in page.events), within=30, what="the page sees it all")
        seen = [Seen(event["type"], json.dumps(event["data"]), event["lastEventId"]) for event in page.events]
    expected.check(seen)


def test_the_matrix_is_whole() -> None:
    """Every kind of attempt is made, with and without success, so that no test passes for having tried nothing."""
    for attempts in (list(published()), list(by_hand()), [attempt for attempt, _ in stored()]):
        assert len({attempt.name for attempt in attempts}) == len(attempts) > 30
        assert {attempt.ok for attempt in attempts} == {True, False}
    assert isinstance(next(published()), Attempt)
