"""History that is not what a client's cursor says: a gap is told every time, and never without a loss."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import redis.asyncio
from integration.helping import Pair, over, post, told, two_gateways
from servers import RedisServer
from streams import Stream

PUBLISHED = 300  # Redis trims whole nodes of a hundred

Take = Callable[["redis.asyncio.Redis", str, list[str]], Coroutine[Any, Any, None]]


async def trim(client: redis.asyncio.Redis, prefix: str, ids: list[str]) -> None:
    await client.xtrim(f"{prefix}:history:user:alice", maxlen=10, approximate=False)


async def delete(client: redis.asyncio.Redis, prefix: str, ids: list[str]) -> None:
    await client.delete(f"{prefix}:history:user:alice")


async def delete_one(client: redis.asyncio.Redis, prefix: str, ids: list[str]) -> None:
    await client.xdel(f"{prefix}:history:user:alice", ids[PUBLISHED // 2])


async def flush(client: redis.asyncio.Redis, prefix: str, ids: list[str]) -> None:
    await client.flushall()


async def publish(pair: Pair, count: int) -> list[str]:
    ids = []
    for number in range(count):
        answer = await post(pair.one.url, "/v1/users/alice/events", {"event_type": "number", "data": number})
        ids.append(answer["id"])
    return ids


@pytest.mark.slow
@pytest.mark.parametrize(
    ("take", "kept"),
    [(trim, 10), (delete, 0), (delete_one, PUBLISHED - 7), (flush, 0)],
    ids=["trim", "delete", "delete_one", "flush"],
)
async def test_what_was_taken_from_a_history_is_told(take: Take, kept: int, prefix: str) -> None:
    """Whoever stood before it, on a process that had not heard the events; not whoever stood behind it."""
    with RedisServer() as server:
        client = redis.asyncio.Redis.from_url(server.url)
        async with two_gateways(over(server.url, prefix)) as pair:
            ids = await publish(pair, PUBLISHED)
            await take(client, prefix, ids)
            behind = Stream(pair.two.url, "user=alice", cursor=ids[-1])
            async with Stream(pair.two.url, "user=alice", cursor=ids[5]) as before, behind:
                await post(pair.one.url, "/v1/users/alice/events", {"event_type": "number", "data": "live"})
                await before.count(1 + kept + 1)
                hole = PUBLISHED // 2 - 6 if take is delete_one else 0  # events before it are given before the gap
                assert "gateway.gap" in before.types[: hole + 1]
                assert sorted(before.types) == ["gateway.gap"] + ["number"] * (kept + 1)
                assert before.data("number")[-1] == "live"
                await behind.next_of("number")
                assert behind.types == (["gateway.gap"] if take is flush else []) + ["number"]
        await client.aclose()


@pytest.mark.parametrize(
    "cursor", ["9999999999999-0", "1-1", "0-5", "earlier", "-", "$", ">", "0-0; DEL x", "18446744073709551615-1"]
)
async def test_a_cursor_that_was_never_given(cursor: str, pair: Pair) -> None:
    """Of the future, of long ago, or none at all: a gap, then all that is kept, then live; status 200."""
    await publish(pair, 2)
    async with Stream(pair.two.url, "user=alice", cursor=cursor) as stream:
        await publish(pair, 1)
        await stream.count(4)
        assert stream.types == ["gateway.gap", "number", "number", "number"]
        assert told(stream, "gateway.gap")["requested"] == cursor


async def test_another_users_cursor_gives_only_ones_own(pair: Pair) -> None:
    """An id of an event of Alice's is a good cursor for Bob, and shows him nothing of hers."""
    (id,) = await publish(pair, 1)
    async with Stream(pair.two.url, "user=bob", cursor=id) as bob, Stream(pair.one.url, "user=bob", cursor="0-1") as b:
        await publish(pair, 1)
        await post(pair.one.url, "/v1/users/bob/events", {"event_type": "number", "data": "bob's"})
        await bob.next_of("number")
        await b.next_of("number")
        assert (bob.types, bob.data("number")) == (["number"], ["bob's"])
        assert b.data("number") == ["bob's"]
