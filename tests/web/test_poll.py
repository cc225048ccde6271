"""The long poll: `GET /v1/events` with `Accept: application/json`."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from lines import Poller
from servers import until
from web.inprocess import SECRET, Served, bearer, claims, post, refused_because, served, token

from gateway import channels
from gateway.app import drain
from gateway.config import PublishKey
from gateway.errors import BrokerUnavailable
from gateway.hub import CloseReason
from gateway.ids import EventId

JSON = {"Accept": "application/json"}


@asynccontextmanager
async def waiting(gateway: Served, poller: Poller, wait: float = 20) -> AsyncIterator[asyncio.Task[dict[str, Any]]]:
    """A poll that is at the tip, and waits."""
    task = asyncio.create_task(poller.poll(wait))
    await until(lambda: any(c.state == "live" for c in gateway.gateway.hub.connections), what="the poll waits")
    async with asyncio.timeout(10):
        yield task
        await asyncio.wait({task})


def polled(gateway: Served, outcome: str) -> float | None:
    return gateway.gateway.metrics.registry.get_sample_value("gateway_polls_total", {"outcome": outcome})


@pytest.fixture
def poller(gateway: Served) -> Poller:
    return Poller(gateway.http, gateway.url, "user=alice")


async def test_what_is_there_is_answered_at_once(gateway: Served, poller: Poller) -> None:
    """With a cursor all that came after it, in order, with the cursor to go on from."""
    ids = [await gateway.publish("alice", "x", number) for number in range(3)]
    poller.cursor = ids[0]
    answer = await poller.poll(wait=20)
    assert answer == {
        "events": [{"id": ids[n], "event_type": "x", "data": n} for n in (1, 2)],
        "cursor": ids[2],
    }
    assert polled(gateway, "events") == 1


async def test_an_event_ends_the_wait(gateway: Served, poller: Poller) -> None:
    """A poll at the tip waits, and is answered as soon as there is something."""
    async with waiting(gateway, poller) as task:
        id = await gateway.publish("alice", "order.paid", {"ä": 1})
        answer = await task
    assert answer == {"events": [{"id": id, "event_type": "order.paid", "data": {"ä": 1}}], "cursor": id}


async def test_without_a_cursor_it_begins_at_the_tip(gateway: Served, poller: Poller) -> None:
    """`wait=0` hands over the cursor, and nothing that was published before is told."""
    before = await gateway.publish("alice")
    assert await poller.poll(wait=0) == {"events": [], "cursor": before}
    after = await gateway.publish("alice", data=2)
    assert [event["id"] for event in (await poller.poll(wait=0))["events"]] == [after]
    assert polled(gateway, "nothing") == 1


async def test_earliest_replays_all_that_is_kept(gateway: Served) -> None:
    """By the parameter too, for who cannot set a header."""
    for number in range(3):
        await gateway.publish("alice", data=number)
    async with gateway.http.get("/v1/events?user=alice&last_event_id=earliest&wait=0", headers=JSON) as response:
        assert [event["data"] for event in (await response.json())["events"]] == [0, 1, 2]


async def test_a_quiet_poll_moves_the_cursor(gateway: Served, poller: Poller) -> None:
    """What others were told meanwhile need not be looked at again, and does not grow into a gap."""
    await poller.poll(wait=0)
    elsewhere = await gateway.publish("bob")
    assert await poller.poll(wait=0.05) == {"events": [], "cursor": elsewhere}


async def test_a_long_history_comes_in_answers_of_bounded_size() -> None:
    """No answer is over GATEWAY_MAX_BUFFER_BYTES by more than an event, and together they hold everything once."""
    async with served(max_buffer_bytes=20_000, max_event_bytes=2000, max_connections_per_user=0) as gateway:
        for start in range(0, 300, 100):
            await post(gateway, [{"event_type": "x", "data": f"{n:01000}"} for n in range(start, start + 100)])
        poller = Poller(gateway.http, gateway.url, "user=alice", "earliest")
        await poller.count(300, wait=0)
        assert [int(event["data"]) for event in poller.events] == list(range(300))
        assert all(len(json.dumps(answer)) < 23_000 for answer in poller.answers)
        assert len(poller.answers) > 15
        assert poller.gaps == []


async def test_a_burst_while_it_waits_is_not_lost() -> None:
    """More than fits at once, while the poll is live: the rest comes with the next ones."""
    async with served(max_buffer_bytes=20_000, max_event_bytes=2000) as gateway:
        poller = Poller(gateway.http, gateway.url, "user=alice")
        async with waiting(gateway, poller):
            await post(gateway, [{"event_type": "x", "data": f"{n:01000}"} for n in range(100)])
        assert 0 < len(poller.events) < 100
        await poller.count(100, wait=0)
        assert [int(event["data"]) for event in poller.events] == list(range(100))


async def test_types_and_topics_are_those_of_streams(gateway: Served) -> None:
    """Filters apply, and what they leave out moves the cursor too."""
    poller = Poller(gateway.http, gateway.url, "user=alice&topic=orders.eu&types=order.*")
    await poller.poll(wait=0)
    await gateway.publish("alice", "other")
    await post(gateway, {"event_type": "order.paid", "data": 1}, "/v1/topics/orders.eu/events")
    last = await gateway.publish("alice", "other")
    answer = await poller.poll(wait=5)
    assert [event["event_type"] for event in answer["events"]] == ["order.paid"]
    assert answer["cursor"] == last
    await gateway.publish("alice", "another")
    assert (await poller.poll(wait=0.05))["events"] == []


@pytest.mark.parametrize("cursor", ["nonsense", "9999999999999-0"])
async def test_a_cursor_that_is_none_is_a_gap(gateway: Served, poller: Poller, cursor: str) -> None:
    """It is told in the answer, at once, with what is kept."""
    id = await gateway.publish("alice", data=1)
    poller.cursor = cursor
    answer = await poller.poll(wait=20)
    assert answer["gap"] == {"requested": cursor, "oldest": id}
    assert [event["id"] for event in answer["events"]] == [id]


async def test_a_trimmed_history_is_a_gap() -> None:
    """What was lost is told, even if there is nothing after it; the next poll tells it no more."""
    async with served(retention_max_events=2) as gateway:
        poller = Poller(gateway.http, gateway.url, "user=alice", await gateway.publish("alice", data=0))
        for number in range(1, 5):
            await gateway.publish("alice", data=number)
        answer = await poller.poll(wait=20)
        assert [event["data"] for event in answer["events"]] == [3, 4]
        assert answer["gap"]["oldest"] == answer["events"][0]["id"]
        assert "gap" not in await poller.poll(wait=0)


async def test_without_retention_there_is_no_cursor() -> None:
    """At most once: what comes while a poll waits."""
    async with served(retention=False) as gateway:
        poller = Poller(gateway.http, gateway.url, "user=alice")
        async with waiting(gateway, poller) as task:
            await gateway.publish("alice", data=1)
            assert await task == {"events": [{"id": None, "event_type": "x", "data": 1}], "cursor": None}


@pytest.mark.parametrize("wait", ["-1", "x", "61", "1e3", "", "NaN", " 1", "٣"])
async def test_a_bad_wait_is_refused(gateway: Served, wait: str) -> None:
    async with gateway.http.get("/v1/events", params={"user": "alice", "wait": wait}, headers=JSON) as response:
        assert (response.status, (await response.json())["field"]) == (400, "wait")


async def test_a_wait_is_for_polls(gateway: Served) -> None:
    """Who forgot the Accept header is told, instead of being held by a stream."""
    async with gateway.http.get("/v1/events?user=alice&wait=5") as response:
        answer = await response.json()
        assert (response.status, answer["field"]) == (400, "wait")
        assert "Accept: application/json" in answer["detail"]


async def test_tokens_are_those_of_streams() -> None:
    """No token, a topic that it does not list; and a poll ends with its token."""
    async with served(jwt_secret=SECRET) as gateway:
        async with gateway.http.get("/v1/events", headers=JSON) as response:
            assert response.status == 401
        good = JSON | bearer(token(claims(seconds=60)))
        async with gateway.http.get("/v1/events?topic=orders", headers=good) as response:
            assert (response.status, (await response.json())["field"]) == (403, "topic")
        short = JSON | bearer(token(claims(seconds=1.2)))
        async with asyncio.timeout(10), gateway.http.get("/v1/events?wait=50", headers=short) as response:
            assert (response.status, (await response.json())["events"]) == (200, [])


async def test_it_does_not_outlive_its_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the history cannot be read just now, and one would wait for that."""

    async def away(*_: object) -> None:
        raise BrokerUnavailable("away")

    keys = (PublishKey("k", "key"),)
    async with served(jwt_secret=SECRET, publish_keys=keys) as gateway:
        monkeypatch.setattr(gateway.gateway.relay.broker, "read", away)
        ends = time.time() + 0.8
        sent = JSON | bearer(token({"sub": "alice", "exp": ends})) | {"Last-Event-ID": "1-1"}
        async with gateway.http.get("/v1/events?wait=20", headers=sent) as response:
            assert response.status == 200
            assert (await response.json())["cursor"] == "1-1"
        assert time.time() <= ends + 1  # and not after the two seconds that reading may take


async def test_it_counts_as_a_connection_while_it_waits() -> None:
    """Of the user, and of the process; one too many is a 503 that says when to come back."""
    async with served(max_connections_per_user=1) as gateway:
        poller = Poller(gateway.http, gateway.url, "user=alice")
        async with waiting(gateway, poller):
            async with gateway.http.get("/v1/events?user=alice", headers=JSON) as response:
                assert response.status == 503
                assert int(response.headers["Retry-After"]) >= 1
            assert refused_because(gateway, "max_connections_per_user") == 1
            await gateway.publish("alice")
        assert (await poller.poll(wait=0))["events"] == []
        assert gateway.gateway.hub.connections == set()


async def test_a_user_who_is_sent_away_is_answered(gateway: Served, poller: Poller) -> None:
    async with waiting(gateway, poller) as task:
        gateway.gateway.hub.close(channels.user("alice"), CloseReason.REVOKED)
        assert (await task)["events"] == []
    assert polled(gateway, "revoked") == 1


async def test_a_drain_answers_and_asks_to_go_elsewhere(gateway: Served, poller: Poller) -> None:
    async with waiting(gateway, poller) as task:
        await drain(gateway.gateway, 0)
        assert EventId.parse((await task)["cursor"])
    async with gateway.http.get("/v1/events?user=alice", headers=JSON) as response:
        assert response.status == 503


async def test_a_client_that_leaves_is_forgotten(gateway: Served, poller: Poller) -> None:
    async with waiting(gateway, poller) as task:
        task.cancel()
        await until(lambda: not gateway.gateway.hub.connections, what="the poll is forgotten")


async def test_heartbeats_are_no_events() -> None:
    """A poll that waits for longer than the heartbeat's interval is not answered by it."""
    async with served(heartbeat_interval=0.05) as gateway:
        poller = Poller(gateway.http, gateway.url, "user=alice")
        assert (await poller.poll(wait=0.5))["events"] == []
