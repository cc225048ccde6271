"""Streams and publishes over several partitions, each of memory: what `tests/chaos` does to a cluster, in small."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio
from lines import Poller
from servers import until
from streams import Stream
from web.inprocess import Served, served

from gateway import adapters
from gateway.broker.base import Publication, Receipt
from gateway.broker.memory import MemoryBroker
from gateway.broker.spread import Spread
from gateway.channels import partition
from gateway.errors import BrokerUnavailable
from gateway.hub import Hub
from gateway.ids import MOST_OTHERS, parse_positions

COUNT = 16


class Failing(MemoryBroker):
    """A partition that can be away for publishers."""

    away = False

    async def publish(self, items: Sequence[Publication]) -> list[Receipt]:
        if self.away:
            raise BrokerUnavailable("away")
        return await super().publish(items)


def topics_by_partition(user: str) -> dict[int, str]:
    """A topic in each partition but the user's."""
    found: dict[int, str] = {}
    for n in range(1000):
        found.setdefault(partition(f"topic:t{n}", COUNT), f"t{n}")
    found.pop(partition(f"user:{user}", COUNT))
    return found


FAR = list(topics_by_partition("alice").values())


@pytest.fixture
def brokers(monkeypatch: pytest.MonkeyPatch) -> list[Failing]:
    each = [Failing() for _ in range(COUNT)]

    async def ready() -> None: ...

    publish = Spread([broker.publish for broker in each], ready).publish
    monkeypatch.setattr(adapters, "brokers", lambda settings: adapters.Brokers(each, publish))
    return each


@pytest_asyncio.fixture
async def gateway(brokers: list[Failing]) -> AsyncIterator[Served]:
    async with served(heartbeat_interval=0.3) as gateway:
        yield gateway


async def to(gateway: Served, path: str, body: object, status: int = 202, *, key: str = "") -> Any:
    headers = {"Idempotency-Key": key} if key else {}
    async with gateway.http.post(f"/v1/{path}", json=body, headers=headers) as response:
        assert response.status == status, await response.text()
        return await response.json()


def event(number: object) -> dict[str, object]:
    return {"event_type": "n", "data": number}


def query(*topics: str) -> str:
    return "&".join(["user=alice", *(f"topic={topic}" for topic in topics)])


async def test_a_user_without_far_topics_has_a_plain_id(gateway: Served) -> None:
    """One partition, one id, and the socket is written to as ever; broadcasts reach everybody."""
    async with Stream(gateway.url, "user=alice") as stream, Stream(gateway.url, "user=bob") as other:
        await to(gateway, "users/alice/events", event(1))
        answer = await to(gateway, "broadcast", [event(2), event(3)])
        assert [one["receivers"] for one in answer] == [1, 1]
        await stream.count(3)
        await other.count(2)
        assert (stream.data("n"), other.data("n")) == ([1, 2, 3], [2, 3])
        assert all(":" not in one.last_event_id for one in stream.events)
    async with stream.resumed() as again:
        await to(gateway, "users/alice/events", event(4))
        await again.count(1)
        assert again.data("n") == [4]


async def test_a_stream_over_several_partitions_goes_on_where_it_was(gateway: Served) -> None:
    """It is cut again and again, and gets every event of every channel once, in the channel's order."""
    topics = FAR[:MOST_OTHERS]
    channels = ["users/alice/events", "broadcast", *(f"topics/{topic}/events" for topic in topics)]
    sent: dict[str, list[int]] = {channel: [] for channel in channels}
    got: list[tuple[str, int]] = []
    last, number = await position(gateway, *topics), 0
    for _ in range(12):
        async with Stream(gateway.url, query(*topics), cursor=last) as stream:
            before = len(got)
            for _ in range(random.randrange(25)):
                channel, number = random.choice(channels), number + 1
                await to(gateway, channel, event([channel, number]))
                sent[channel].append(number)
            missing = sum(map(len, sent.values())) - before
            await stream.count(random.randint(0, missing))
        got += [(channel, number) for channel, number in stream.data("n")]
        if stream.events:
            last = stream.events[-1].last_event_id
        for _ in range(random.randrange(10)):
            channel, number = random.choice(channels), number + 1
            await to(gateway, channel, event([channel, number]))
            sent[channel].append(number)
    async with Stream(gateway.url, query(*topics), cursor=last) as stream:
        await stream.count(sum(map(len, sent.values())) - len(got))
    got += [(channel, number) for channel, number in stream.data("n")]
    for channel in channels:
        assert [number for each, number in got if each == channel] == sent[channel]
    assert "gateway.gap" not in stream.types
    assert parse_positions(last) is not None
    assert len(last) <= 256


async def position(gateway: Served, *topics: str) -> str:
    async with Stream(gateway.url, query(*topics)) as stream:
        return await stream.position()


async def test_its_heartbeat_keeps_all_positions_young(gateway: Served) -> None:
    """What happened to others moves the position in their partition too."""
    (topic,) = FAR[:1]
    number = partition(f"topic:{topic}", COUNT)
    stranger = next(f"u{n}" for n in range(1000) if partition(f"user:u{n}", COUNT) == number)
    async with Stream(gateway.url, query(topic)) as stream:
        id = (await to(gateway, f"users/{stranger}/events", event(1)))["id"]
        await until(lambda: f",{number}:{id}\n".encode() in stream.raw, what="the id comes in a heartbeat")
        assert stream.events == []


async def test_more_partitions_than_an_id_can_tell_of(gateway: Served) -> None:
    """It is refused, with what to do."""
    refused = "&".join(f"topic={topic}" for topic in FAR[: MOST_OTHERS + 1])
    async with gateway.http.get(f"/v1/events?user=alice&{refused}") as response:
        assert response.status == 400
        told = await response.json()
    assert "8 partitions besides the user's; at most 7" in told["detail"]
    assert "a stream of their own" in told["detail"]


async def test_a_position_that_is_missing_begins_at_the_tip(gateway: Served) -> None:
    """Who asks for one more topic hears of it from now on; who has left one out is not disturbed by its position."""
    one, two = FAR[:2]
    await to(gateway, f"topics/{two}/events", event("old"))
    async with Stream(gateway.url, query(one)) as stream:
        await to(gateway, f"topics/{one}/events", event(1))
        await stream.count(1)
    await to(gateway, f"topics/{one}/events", event(2))
    async with Stream(gateway.url, query(one, two), cursor=stream.events[-1].last_event_id) as more:
        await to(gateway, f"topics/{two}/events", event(3))
        await more.count(2)
        assert more.data("n") == [2, 3]
    async with Stream(gateway.url, query(), cursor=more.events[-1].last_event_id) as less:
        await to(gateway, "users/alice/events", event(4))
        await less.count(1)
        assert less.types == ["n"]


@pytest.mark.parametrize("cursor", ["nonsense", "1-0,3", "1-0,3:1-0,2:1-0"])
async def test_positions_that_are_none(gateway: Served, cursor: str) -> None:
    """One gap for the stream, then all that is kept in all of its partitions."""
    (topic,) = FAR[:1]
    await to(gateway, f"topics/{topic}/events", event(1))
    await to(gateway, "users/alice/events", event(2))
    async with Stream(gateway.url, query(topic), cursor=cursor) as stream:
        await stream.count(3)
        assert sorted(stream.types) == ["gateway.gap", "n", "n"]
        assert sorted(stream.data("n")) == [1, 2]


async def test_a_batch_of_which_a_part_was_not_taken(gateway: Served, brokers: list[Failing]) -> None:
    """503; the rest may have been taken; with the key it is completed, and nothing comes twice."""
    users = ["alice", "bob", "carol", "dave"]
    batch = [event(n) | {"user_id": user} for n, user in enumerate(users)]
    brokers[partition("user:bob", COUNT)].away = True
    answer = await to(gateway, "events", batch, 503, key="k")
    assert "did not take their part" in answer["detail"]
    brokers[partition("user:bob", COUNT)].away = False
    first = await to(gateway, "events", batch, key="k")
    assert await to(gateway, "events", batch, key="k") == first
    for number, user in enumerate(users):
        async with Stream(gateway.url, f"user={user}&last_event_id=earliest") as stream:
            await to(gateway, f"users/{user}/events", event("end"))
            await stream.count(2)
            assert stream.data("n") == [number, "end"]


async def test_a_broadcast_of_which_a_part_was_not_taken(gateway: Served, brokers: list[Failing]) -> None:
    """With its key it is one broadcast, however often it was sent."""
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(Stream(gateway.url, f"user=u{n}")) for n in range(40)]
        brokers[3].away = True
        await to(gateway, "broadcast", event(1), 503, key="k")
        brokers[3].away = False
        first = await to(gateway, "broadcast", event(1), key="k")
        again = await to(gateway, "broadcast", event(1), key="k")
        assert again["id"] == first["id"]
        await to(gateway, "broadcast", event(2))
        for stream in streams:
            await stream.count(2)
            assert stream.data("n") == [1, 2]


async def test_all_of_a_stream_ends_together(gateway: Served) -> None:
    """When the client leaves, when the user is sent away: no leg is left on any hub."""
    hubs: list[Hub] = [relay.hub for relay in gateway.gateway.relays]
    topics = FAR[:3]
    async with Stream(gateway.url, query(*topics)):
        assert gateway.gateway.relays.count == len(gateway.gateway.relays.streams()) == 1
        assert sum(len(hub.connections) for hub in hubs) == 4
        async with gateway.http.get("/metrics") as response:
            assert 'gateway_connections{state="live"} 1.0' in await response.text()
    await until(lambda: not any(hub.connections for hub in hubs))
    async with Stream(gateway.url, query(*topics)) as stream:
        async with gateway.http.delete("/v1/users/alice/connections") as response:
            assert response.status == 202
        await stream.end()
    await until(lambda: not any(hub.connections for hub in hubs))
    await until(lambda: not any(hub.channels for hub in hubs))
    assert gateway.gateway.relays.count == 0


async def test_one_that_is_away_makes_the_process_unready(gateway: Served, brokers: list[Failing]) -> None:
    """And it is named."""
    await brokers[5].close()
    async with gateway.http.get("/readyz") as response:
        assert response.status == 503
        assert "partition 5: " in (await response.json())["reasons"][0]


async def test_a_poll_reads_in_all_of_them(gateway: Served) -> None:
    """The user's events and those of topics elsewhere on one cursor, live, from the beginning, and after nonsense."""
    topics = FAR[:5]
    poller = Poller(gateway.http, gateway.url, query(*topics))
    await poller.poll(wait=0)
    for number in range(20):
        await to(gateway, f"topics/{topics[number % 5]}/events" if number % 4 else "users/alice/events", event(number))
        if number % 7 == 0:
            await poller.poll(wait=5)
    await poller.count(20)
    assert sorted(each["data"] for each in poller.events) == list(range(20))
    assert (await poller.poll(wait=0))["events"] == []
    waiting = asyncio.create_task(poller.poll(wait=20))
    await until(lambda: any(each.state == "live" for each in gateway.gateway.relays.streams()))
    await to(gateway, f"topics/{topics[3]}/events", event(20))
    assert [each["data"] for each in (await waiting)["events"]] == [20]
    assert parse_positions(poller.cursor or "") is not None
    again = Poller(gateway.http, gateway.url, query(*topics), "earliest")
    await again.count(21)
    assert sorted(each["data"] for each in again.events) == list(range(21))
    assert poller.gaps == again.gaps == []
    strange = Poller(gateway.http, gateway.url, query(*topics), "nonsense")
    assert (await strange.poll(wait=5))["gap"]["requested"] == "nonsense"
    await until(lambda: gateway.gateway.relays.count == 0)
