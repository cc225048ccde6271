"""Five hundred users on one gateway: nobody gets an event that is not theirs, live or replayed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
import pytest_asyncio
from servers import until
from streams import Stream
from web.inprocess import SECRET, Served, bearer, claims, served, token
from yarl import URL

from gateway.config import PublishKey
from gateway.ids import EventId

USERS = [f"u{number}" for number in range(500)]
TEAMS = 5
AT_ONCE = 50
JSON_LINES = {"Content-Type": "application/x-ndjson"}

FORGED = [
    "earliest", "0-0", "1-1", "9999999999999-0", "-1", "*", "$", "+", ">", "0", "user:u1", "1-0/user:u1", "u1",
    "1-0%0d%0auser:u1", "topic:team1.a", "sse:user:u1", "[\"user:u1\"]", "18446744073709551615-18446744073709551615",
]  # fmt: skip
INJECTED = [
    "user=u1", "sub=u1", "user_id=u1", "channel=user:u1", "channels=user:u1,broadcast", "types=*&user=u1",
    "topic=team{own}.a&user=u1", "topic=team{own}.a&topic=team{own}.b",
]  # fmt: skip
NOT_ALLOWED = [
    "team{other}.a", "*", "team{own}*", "team{own}", "team*.a", "user:u1", "../u1", "broadcast",
    "user:{own}", "team{own}.a,team{other}.a", "team{own}.a team{other}.a", "TEAM{own}.a",
    "team{own}.a%0a", "topic:team{own}.a", "team{own}.*", "", ":", "team{other}.*",
]  # fmt: skip


def team(user: str) -> int:
    return int(user[1:]) % TEAMS


def token_of(user: str) -> str:
    return token(claims(user, seconds=600, topics=[f"team{team(user)}.*"]))


def is_own(user: str, data: Any) -> bool:
    return data in (f"user {user}", "broadcast", f"team {team(user)}")


@pytest_asyncio.fixture(params=["memory", "redis"])
async def gateway(request: pytest.FixtureRequest, prefix: str) -> AsyncIterator[Served]:
    url = "memory://" if request.param == "memory" else request.getfixturevalue("redis_url")
    keys = (PublishKey("k", "key"),)
    async with served(jwt_secret=SECRET, publish_keys=keys, broker_url=url, channel_prefix=prefix) as running:
        yield running


async def publish_to_all(gateway: Served) -> None:
    """An event for each user, one for each team, and one for everybody."""
    event = {"event_type": "x"}
    lines = [json.dumps(event | {"user_id": user, "data": f"user {user}"}) for user in USERS]
    sent = bearer("key")
    async with gateway.http.post("/v1/events", data="\n".join(lines), headers=sent | JSON_LINES) as response:
        assert response.status == 202
    for number in range(TEAMS):
        body = event | {"data": f"team {number}"}
        async with gateway.http.post(f"/v1/topics/team{number}.a/events", json=body, headers=sent) as response:
            assert response.status == 202
    async with gateway.http.post("/v1/broadcast", json=event | {"data": "broadcast"}, headers=sent) as response:
        assert response.status == 202


async def got(gateway: Served, user: str, query: str, cursor: str | None = None, *, wanted: int) -> list[Any]:
    """The data of what a stream brings, at least `wanted` events."""
    headers = {} if cursor is None else {"Last-Event-ID": cursor}
    async with Stream(gateway.url, query, token=token_of(user), headers=headers) as stream:
        await stream.position()
        await until(lambda: len(own_events(stream)) >= wanted)
        return own_events(stream)


def own_events(stream: Stream) -> list[Any]:
    """The data of what was published."""
    return [json.loads(event.data) for event in stream.events if not event.type.startswith("gateway.")]


async def in_turn(work: Iterable[Any]) -> list[Any]:
    """The results of coroutines, `AT_ONCE` of which run at a time."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(coroutine: Any) -> Any:
        async with room:
            return await coroutine

    return await asyncio.gather(*map(one, work))


async def test_live_events_reach_their_own(gateway: Served) -> None:
    """With all of them connected at once, each gets its own event, its team's and the broadcast, and nothing else."""
    streams = [Stream(gateway.url, f"topic=team{team(user)}.a", token=token_of(user)) for user in USERS]
    await in_turn(stream.open() for stream in streams)
    try:
        await publish_to_all(gateway)
        for user, stream in zip(USERS, streams, strict=True):
            await stream.count(3)
            assert {json.loads(event.data) for event in stream.events} == {
                f"user {user}", "broadcast", f"team {team(user)}"
            }  # fmt: skip
    finally:
        await in_turn(stream.close() for stream in streams)


async def test_no_cursor_shows_what_is_anothers(gateway: Served) -> None:
    """Replayed from the earliest, from another's id or from a forged one, what comes is the user's own."""
    await publish_to_all(gateway)
    ids = [entry.id for entry in (await gateway.gateway.relay.broker.read(["user:u1"], EventId(0, 0), 10)).entries]
    cursors = FORGED + [str(id) for id in ids]
    asked = [(user, cursors[number % len(cursors)]) for number, user in enumerate(USERS)]
    results = await in_turn(got(gateway, user, f"topic=team{team(user)}.a", cursor, wanted=2) for user, cursor in asked)
    for (user, cursor), data in zip(asked, results, strict=True):
        assert all(is_own(user, item) for item in data), (user, cursor, data)
    assert await got(gateway, "u7", "topic=team2.a&last_event_id=earliest", wanted=3)


async def test_no_query_shows_what_is_anothers(gateway: Served) -> None:
    """Names of users and channels anywhere in the query change nothing about whose stream it is."""
    await publish_to_all(gateway)
    asked = [(user, INJECTED[number % len(INJECTED)].format(own=team(user))) for number, user in enumerate(USERS)]
    results = await in_turn(got(gateway, user, f"{query}&last_event_id=earliest", wanted=2) for user, query in asked)
    for (user, query), data in zip(asked, results, strict=True):
        assert f"user {user}" in data
        assert all(is_own(user, item) for item in data), (user, query, data)


@pytest.mark.parametrize("name", NOT_ALLOWED)
async def test_no_topic_but_what_the_token_grants(gateway: Served, name: str) -> None:
    """Another team's topic, a pattern, another channel's name or a spelling of it: 400 or 403, replay or not."""
    asked = name.format(own=2, other=3)
    for query in (f"topic={asked}", f"topic=team2.a&topic={asked}", f"topic={asked}&last_event_id=earliest"):
        url = f"{gateway.url}/v1/events?{query}"
        async with gateway.http.get(URL(url, encoded=True), headers=bearer(token_of("u7"))) as response:
            assert response.status in (400, 403), f"{query}: {response.status}"
