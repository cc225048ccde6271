"""What becomes of history when somebody takes from it: told every time, and never without a reason."""

from __future__ import annotations

import pytest
from broker.conftest import RedisWorld
from broker.listening import publication, publish

from gateway.ids import START, EventId

ALICE, BOB = "user:alice", "user:bob"


async def test_a_deleted_history(redis_world: RedisWorld) -> None:
    """A channel's history deleted: told to whoever had not had all of it, also when more came since."""
    world = redis_world
    broker, _ = await world.process()
    given = await publish(broker, ALICE, 1, 2, 3)
    (other,) = await publish(broker, BOB, 4)
    await world.redis.delete(world.history_key(ALICE))
    assert (await broker.read([ALICE, BOB], given[1], 10)).lost == (ALICE,)
    assert (await broker.read([ALICE, BOB], given[2], 10)).lost == ()
    (more,) = await publish(broker, ALICE, 5)
    page = await broker.read([ALICE, BOB], given[1], 10)
    assert ([entry.id for entry in page.entries], page.lost) == ([other, more], (ALICE,))
    page = await broker.read([ALICE, BOB], given[2], 10)
    assert ([entry.id for entry in page.entries], page.lost) == ([other, more], ())


@pytest.mark.parametrize("position", [0, 2, 4])
async def test_one_deleted_event(redis_world: RedisWorld, position: int) -> None:
    """One event deleted, first, in the middle or last: told from before it, not from it on, on any page size."""
    world = redis_world
    broker, _ = await world.process()
    before = await broker.tip()
    given = await publish(broker, ALICE, *range(5))
    await world.redis.xdel(world.history_key(ALICE), str(given[position]))
    for had, cursor in enumerate([before, *given]):
        assert (await broker.read([BOB, ALICE], cursor, 10)).lost == ((ALICE,) if had <= position else ())
        assert (await broker.read([BOB, ALICE], cursor, 5)).lost == ((ALICE,) if had <= position else ())


async def test_deleted_while_another_channel_is_long(redis_world: RedisWorld) -> None:
    """A hole shows although another channel cuts the page between the hole and the entry that tells of it."""
    world = redis_world
    broker, _ = await world.process()
    before = await broker.tip()
    given = [
        receipt.id or START
        for receipt in await broker.publish([publication(c, 1) for c in (BOB, ALICE, BOB, BOB, BOB, ALICE)])
    ]
    await world.redis.xdel(world.history_key(ALICE), str(given[1]))
    page = await broker.read([ALICE, BOB], before, 2)
    assert page.upto == given[2]
    assert page.lost == (ALICE,)
    assert (await broker.read([ALICE, BOB], page.upto, 10)).lost == ()


@pytest.mark.parametrize("first", ["read", "publish"])
async def test_everything_flushed(redis_world: RedisWorld, first: str) -> None:
    """After FLUSHALL every old cursor is told, whoever comes first, and new ones are good."""
    world = redis_world
    broker, _ = await world.process()
    tip_before = await broker.tip()
    (old,) = await publish(broker, ALICE, 1)
    await world.elapse(0.005)
    await world.redis.flushall()
    if first == "publish":
        await publish(broker, ALICE, 2)
    for cursor in (tip_before, old):
        page = await broker.read([ALICE, BOB], cursor, 10)
        assert (page.entries, page.upto, page.lost) == ([], START, (ALICE, BOB))
        assert not (await broker.touched(cursor, 10)).intact
    fresh = await broker.tip()
    (new,) = await publish(broker, ALICE, 3)
    assert new > old
    page = await broker.read([ALICE, BOB], fresh, 10)
    assert ([entry.id for entry in page.entries], page.lost) == ([new], ())
    assert (await broker.touched(fresh, 10)).intact


async def test_a_trimmed_journal(redis_world: RedisWorld) -> None:
    """A journal that no longer holds an id is not intact from there; histories are not touched by that."""
    world = redis_world
    broker, _ = await world.process()
    await broker.tip()
    given = await publish(broker, ALICE, 1, 2, 3)
    await world.redis.xtrim(f"{world.prefix}:journal", maxlen=1, approximate=False)
    assert not (await broker.touched(given[0], 10)).intact
    assert await broker.touched(given[2], 10) == ([], True, True)
    assert (await broker.read([ALICE], given[0], 10)).lost == ()


async def test_a_deleted_journal_and_a_clock_that_went_back(redis_world: RedisWorld) -> None:
    """When ids begin anew below those of a history, the history gives way: the event is kept, the cursor is told."""
    world = redis_world
    broker, _ = await world.process()
    ahead = EventId(await world.now_ms() + 3_600_000, 0)
    await world.redis.xadd(world.history_key(ALICE), {"e": '{"event_type":"x","data":0}', "p": "0-0"}, id=str(ahead))
    await world.redis.set(f"{world.prefix}:last:{ALICE}", str(ahead))
    (id,) = await publish(broker, ALICE, 1)
    assert id < ahead
    assert [entry.id for entry in (await broker.read([ALICE], START, 10)).entries] == [id]
    assert (await broker.read([ALICE], ahead, 10)).lost == (ALICE,)


async def test_what_others_wrote_into_a_history(redis_world: RedisWorld) -> None:
    """An entry that is no event is passed over; the events around it are whole, and nothing is told lost."""
    world = redis_world
    broker, _ = await world.process()
    before = await broker.tip()
    first = await publish(broker, ALICE, 1)
    for fields in ({"hello": "world"}, {"e": "no json", "p": "0-0"}, {"e": '{"event_type":"x","data":1}', "p": "?"}):
        await world.redis.xadd(world.history_key(ALICE), fields)  # type: ignore[arg-type]
        await world.elapse(0.002)
    second = await publish(broker, ALICE, 2)
    page = await broker.read([ALICE], before, 10)
    assert ([entry.id for entry in page.entries], page.lost) == (first + second, ())


async def test_nothing_stays_for_ever(redis_world: RedisWorld) -> None:
    """Every key of a channel goes by itself when the channel falls silent; each publish gives it its time again."""
    world = redis_world
    broker, _ = await world.process(ttl=100, idempotency_ttl=10)
    times = {f"history:{ALICE}": 100_000, f"last:{ALICE}": 200_000, f"dedupe:{ALICE}:k": 10_000}
    for n in range(2):
        await broker.publish([publication(ALICE, n, key="k"), publication(ALICE, n)])
        for key, most in times.items():
            assert most - 5_000 < await world.redis.pttl(f"{world.prefix}:{key}") <= most
        await world.redis.pexpire(f"{world.prefix}:history:{ALICE}", 1_000)
        await world.redis.pexpire(f"{world.prefix}:last:{ALICE}", 1_000)
    keys: list[bytes] = await world.redis.keys(f"{world.prefix}:*")  # type: ignore[assignment]
    lasting = {key.decode().removeprefix(f"{world.prefix}:") for key in keys} - set(times)
    assert lasting <= {"journal", "epoch"}
