"""What the console's pages ask: for its key, and for nothing that it cannot have."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from servers import until
from streams import Stream
from web.inprocess import SECRET, Served, bearer, claims, served, token

from gateway.config import PublishKey
from gateway.errors import BrokerUnavailable

KEY = "the-key-of-the-console"
API = "/console/api"


@pytest_asyncio.fixture
async def gateway() -> AsyncIterator[Served]:
    async with served() as running:
        yield running


@pytest_asyncio.fixture
async def locked() -> AsyncIterator[Served]:
    keys = (PublishKey("all", "a-publish-key"),)
    async with served(jwt_secret=SECRET, publish_keys=keys, console_key=KEY) as running:
        yield running


async def asked(served: Served, path: str, method: str = "GET", **request: Any) -> tuple[int, Any]:
    async with served.http.request(method, API + path, **request) as response:
        return response.status, await response.json(content_type=None)


async def fleet(served: Served) -> list[dict[str, Any]]:
    status, answer = await asked(served, "/fleet")
    assert (status, answer["error"]) == (200, None)
    processes: list[dict[str, Any]] = answer["processes"]
    return processes


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/fleet"),
        ("GET", "/events?fleet=1"),
        ("POST", "/watch?user=alice"),
        ("GET", "/channels/broadcast"),
        ("GET", "/settings"),
    ],
)
async def test_every_answer_wants_the_key(locked: Served, method: str, path: str) -> None:
    """No other credential opens it, and the refusals are counted."""
    for headers in ({}, bearer("a-publish-key"), bearer(token(claims(topics=["*"]))), bearer(KEY + "x")):
        status, problem = await asked(locked, path, method, headers=headers)
        assert status == 401
        assert "GATEWAY_CONSOLE_KEY" in problem["detail"]
    refused = locked.gateway.metrics.registry.get_sample_value
    assert refused("gateway_credentials_refused_total", {"door": "console", "reason": "unknown_key"}) == 3
    async with locked.http.request(method, API + path, headers=bearer(KEY)) as response:
        assert response.status in (200, 202)


async def test_the_key_publishes_and_sends_away_too(locked: Served) -> None:
    """Under its own name, so that the log tells."""
    async with locked.http.post("/v1/broadcast", json={"event_type": "x", "data": 1}, headers=bearer(KEY)) as response:
        assert response.status == 202
    async with locked.http.delete("/v1/users/alice/connections", headers=bearer(KEY)) as response:
        assert response.status == 202
    async with locked.http.get("/v1/events", headers=bearer(KEY)) as response:
        assert response.status == 401


async def test_a_process_tells_of_itself(gateway: Served) -> None:
    """How many streams it has and in which states, what it counted, and why it is not ready."""
    async with Stream(gateway.url, "user=alice&topic=orders"), Stream(gateway.url, "user=bob"):
        await gateway.publish("alice")

        async def told() -> bool:
            processes = await fleet(gateway)
            return [(p["streams"]["live"], p["counters"]["published"]) for p in processes] == [(2, 1)]

        await until(told)
        (process,) = await fleet(gateway)
        assert process["counters"]["opened"] == 2
        assert process["channels"] == 4
        assert (process["draining"], process["not_ready"], process["broker"]["health"]) == (False, [], None)
        gateway.gateway.draining = True

        async def draining() -> bool:
            (process,) = await fleet(gateway)
            return bool(process["draining"])

        await until(draining)


async def test_consoles_are_told_of_the_fleet_and_of_whom_they_watch(gateway: Served) -> None:
    """Once a second, by a stream; of a user who is watched, with where each of the streams stands."""
    async with Stream(gateway.url, "user=alice&topic=orders&types=a.*"):
        status, answer = await asked(gateway, "/watch?user=alice", "POST")
        assert (status, answer) == (202, {"connections": 1})
        async with Stream(gateway.url, "fleet=1", path=f"{API}/events") as console:

            def alices() -> list[dict[str, Any]]:
                for event in reversed(console.events):
                    told = json.loads(event.data)
                    if event.type == "console.fleet" and told["processes"][0]["users"].get("alice"):
                        streams: list[dict[str, Any]] = told["processes"][0]["users"]["alice"]
                        return streams
                return []

            await until(alices)
            (stream,) = alices()
            assert stream["state"] == "live"
            assert (stream["topics"], stream["types"], stream["waiting"]) == (["topic:orders"], ["a.*"], 0)
            assert not any(event.last_event_id is None for event in console.events)
            busiest = json.loads(console.events[-1].data)["processes"][0]["busiest"]
            assert ["user:alice", 1] in busiest
            assert not [name for name, _ in busiest if name.startswith("console")]


async def test_a_tail_hears_what_its_channels_hear(gateway: Served) -> None:
    """From the beginning when it asks for that, filtered, and without being one of the user's streams."""
    first = await gateway.publish("alice", "a.first", 1)
    async with Stream(gateway.url, "user=alice&types=a.*&last_event_id=earliest", path=f"{API}/events") as tail:
        await gateway.publish("alice", "b", 2)
        await gateway.publish("alice", "a.second", 3)
        await until(lambda: len(tail.events) == 2)
        assert [(event.type, json.loads(event.data)) for event in tail.events] == [("a.first", 1), ("a.second", 3)]
        assert tail.events[0].last_event_id == first
        async with gateway.http.get("/v1/users/alice/presence") as response:
            assert (await response.json())["connections"] == 0


@pytest.mark.parametrize("query", ["", "user=a%20b", "topic=", "user="])
async def test_a_tail_of_nothing_is_refused(gateway: Served, query: str) -> None:
    """With what to ask for instead."""
    status, problem = await asked(gateway, f"/events?{query}")
    assert status == 400
    assert problem["detail"]


async def test_a_channels_history(gateway: Served) -> None:
    """How much is kept, and from when to when; none for a channel that there is not."""
    nothing = {"retention": True, "entries": 0, "more": False, "oldest": None, "newest": None}
    assert await asked(gateway, "/channels/topic:orders") == (200, {"channel": "topic:orders"} | nothing)
    ids = [await gateway.publish("alice") for _ in range(3)]
    told = {"entries": 3, "oldest": ids[0], "newest": ids[-1]}
    assert await asked(gateway, "/channels/user:alice") == (200, {"channel": "user:alice"} | nothing | told)
    for wrong in ("alice", "user:", "user:a%20b", "nothing:x", "console:fleet"):
        status, problem = await asked(gateway, f"/channels/{wrong}")
        assert (status, problem["field"]) == (400, "channel"), wrong


async def test_settings_are_shown_without_secrets(locked: Served) -> None:
    """Each with its default, and whether it is that."""
    async with locked.http.get(f"{API}/settings", headers=bearer(KEY)) as response:
        text = await response.text()
    rows = {row["name"]: row for row in json.loads(text)["settings"]}
    assert rows["GATEWAY_RETENTION_TTL"]["value"] == 3600
    assert (rows["GATEWAY_CONSOLE_KEY"]["value"], rows["GATEWAY_CONSOLE_KEY"]["changed"]) == ("********", True)
    for secret in (KEY, SECRET, "a-publish-key"):
        assert secret not in text


async def test_a_board_whose_fleet_is_away_tells_of_this_process(
    gateway: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And that it could not ask the others."""

    async def away(*_: object) -> None:
        raise BrokerUnavailable("Redis is away")

    board = gateway.gateway.board
    assert board is not None
    for method in ("tell", "reports", "watch"):
        monkeypatch.setattr(board._fleet, method, away)
    status, answer = await asked(gateway, "/fleet")
    assert status == 200
    assert "Redis is away" in answer["error"]
    assert len(answer["processes"]) == 1
    async with Stream(gateway.url, "fleet=1", path=f"{API}/events") as console:
        await until(lambda: console.events)
        assert "Redis is away" in console.events[0].data
