"""A partition of a cluster whose slot moves, whose node dies, and on whose number not everybody agrees."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from broker.listening import Heard, publish
from broker.redis.processes import ALICE, BOB, reasons, restored
from broker.redis.test_forms import rules
from clusters import RedisCluster
from servers import RedisServer, until
from structlog.typing import EventDict

from gateway.broker.base import Publication
from gateway.broker.redis import RedisBroker
from gateway.broker.redis.cluster import Cluster, SlotOwner
from gateway.broker.redis.connect import client
from gateway.broker.redis.partitions import Partition, partitions
from gateway.broker.redis.urls import read
from gateway.channels import partition
from gateway.client import SSEEvent, get_sse_publisher
from gateway.errors import BrokerUnavailable
from gateway.ids import START


@asynccontextmanager
async def running(
    url: str, prefix: str, *, number: int = 3, count: int = 16
) -> AsyncIterator[tuple[RedisBroker, Heard]]:
    """The broker of one partition."""
    each, agreement = partitions(url, prefix, count)
    route, name = each[number]
    broker, heard = RedisBroker(route, prefix=name, agreement=agreement), Heard()
    await broker.start(heard)
    try:
        yield broker, heard
    finally:
        await broker.close()


async def elsewhere(cluster: RedisCluster, key: str) -> RedisServer:
    here = await cluster.owner(key)
    return next(node for node in cluster.masters if node is not here)


@pytest.mark.parametrize("how", ["key by key", "in one step"])
async def test_a_slot_that_moves_under_an_idle_subscriber(
    cluster: RedisCluster, prefix: str, logs: list[EventDict], how: str
) -> None:
    """The link follows unasked, with all channels; who published before and after finds the history whole."""
    async with running(cluster.url, prefix) as (broker, heard), running(cluster.url, prefix) as (other, _):
        await asyncio.gather(broker.subscribe(ALICE), broker.subscribe(BOB))
        before = await publish(other, ALICE, 1)
        await heard.hears(1)
        key = f"{prefix}:{{3}}:journal"
        if how == "key by key":
            assert await cluster.move(key, await elsewhere(cluster, key)) > 0
        elif not await cluster.move_in_one_step(key, await elsewhere(cluster, key)):
            pytest.skip("these servers move slots key by key only (Valkey 9 is needed)")
        await restored(heard, 2)
        assert "the slot went to another node" in reasons(logs)
        after = await publish(other, ALICE, 2)
        await publish(other, BOB, 3)
        await heard.hears(1, 2, 3)
        assert before < after
        page = await broker.read([ALICE], START, 10)
        assert [entry.data for entry in page.entries] == [b"1", b"2"]
        assert (await broker.touched(before[0], 10)).intact


async def test_a_slot_that_is_on_its_way(cluster: RedisCluster, prefix: str) -> None:
    """While its keys are here and there a publish waits; when that lasts, it is refused and may be sent again."""
    async with running(cluster.url, prefix, number=5) as (broker, heard):
        await broker.subscribe(ALICE)
        await publish(broker, ALICE, 1)
        key = f"{prefix}:{{5}}:journal"
        here, there = await cluster.owner(key), await elsewhere(cluster, key)
        await cluster.begin_move(key, there)
        once = [Publication(ALICE, SSEEvent("test.event", data=2), "a key that was never there")]
        with pytest.raises(BrokerUnavailable):
            await broker.publish(once)
        waiting = asyncio.create_task(broker.publish(once))
        await cluster.end_move(key, here, there)
        await waiting
        await restored(heard, 2)
        await broker.publish(once)
        await publish(broker, ALICE, 3)
        page = await broker.read([ALICE], START, 10)
        assert [entry.data for entry in page.entries] == [b"1", b"2", b"3"]


async def test_another_number_of_partitions(cluster: RedisCluster, prefix: str) -> None:
    """Who means another number than those before does not hear, and does not publish; the setting is named."""
    async with running(cluster.url, prefix, count=16) as (broker, heard):
        await restored(heard, 1)
        assert broker.health() is None
    async with running(cluster.url, prefix, count=8) as (broker, heard):
        await until(lambda: "GATEWAY_REDIS_PARTITIONS must be 16" in (broker.health() or ""))
        assert heard.restored == 0
    _, agreement = partitions(cluster.url, prefix, 8)
    assert agreement is not None
    with pytest.raises(BrokerUnavailable, match="GATEWAY_REDIS_PARTITIONS must be 16"):
        await agreement.reached()


async def test_straight_from_a_backend_service(
    cluster: RedisCluster, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Python client finds the user's partition; a broadcast is in each of them."""
    monkeypatch.setenv("GATEWAY_CHANNEL_PREFIX", prefix)
    async with get_sse_publisher(cluster.url, budget=5) as publisher:
        await publisher.publish(SSEEvent("x", "alice", 1))
        await publisher.broadcast(SSEEvent("x", data=2))
        assert publisher.stats.published == 2
    home = partition(ALICE, 16)
    for number, (route, name) in enumerate(partitions(cluster.url, prefix, 16).each):
        async with client(route, timeout=5) as redis:
            assert await redis.xlen(f"{name}:history:broadcast") == 1
            assert await redis.xlen(f"{name}:history:{ALICE}") == (number == home)


async def test_a_user_with_only_the_rights_of_the_guide(cluster: RedisCluster, prefix: str) -> None:
    """What docs/redis.md grants on a cluster is enough."""
    granted = [word.replace("sse:", f"{prefix}:") for word in rules() if word not in ON_A_SINGLE_REDIS]
    for node in cluster.masters:
        await cluster.ask(node, "ACL SETUSER", prefix, *granted, *ON_A_CLUSTER)
        await cluster.ask(node, "ACL LOG", "RESET")
    url = cluster.url.replace(":of-nodes@", f"{prefix}:password@")
    async with running(url, prefix) as (broker, heard):
        await broker.subscribe(ALICE)
        await publish(broker, ALICE, 1)
        await heard.hears(1)
        await until(lambda: heard.marks, what="a probe comes back")
        await broker.read([ALICE], START, 10)
        assert broker.warnings() == []
    for node in cluster.masters:
        assert await cluster.ask(node, "ACL LOG") == []


async def test_no_node_answers() -> None:
    """What each of them said is in the reason."""
    with pytest.raises(OSError, match="no node of the cluster says who serves what") as raised:
        await Cluster(read("redis+cluster://127.0.0.1:1,127.0.0.1:2")).owner(0)
    assert all(f"127.0.0.1:{port}: " in str(raised.value) for port in (1, 2))


async def test_a_slot_that_nobody_serves() -> None:
    """A cluster that was not formed is named as one."""
    async with RedisServer(cluster_enabled="yes") as node:
        url = node.url.replace("redis://", "redis+cluster://")
        with pytest.raises(OSError, match="no node for slot"):
            await SlotOwner(Cluster(read(url)), "x").find()


async def test_the_nodes_of_the_url_need_not_all_be_there(cluster: RedisCluster, prefix: str) -> None:
    """One that is gone does not matter while another answers."""
    url = cluster.url.replace("@", "@127.0.0.1:1,127.0.0.1:2,127.0.0.1:3,")
    async with running(url, prefix) as (_, heard):
        await restored(heard, 1)


def test_where_a_channel_lies() -> None:
    """By CRC-32, as every language has it: these figures are for whoever writes another publisher."""
    assert [partition(c, 16) for c in ("user:42", "user:alice", "topic:orders", "broadcast")] == FIGURES
    assert partition("user:42", 1) == 0
    each = partitions("redis+cluster://h", "sse", 16).each
    assert [one.prefix for one in each[:2]] == ["sse:{0}", "sse:{1}"]
    assert isinstance(each[0], Partition)


ON_A_CLUSTER = ["+ssubscribe", "+sunsubscribe", "+spublish", "+cluster|slots", "+cluster|info"]
ON_A_SINGLE_REDIS = ["+subscribe", "+unsubscribe", "+publish"]
FIGURES = [6, 6, 4, 5]
