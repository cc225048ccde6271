"""A Redis Cluster of real processes on loopback: masters, replicas, and slots that move while they are used."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import Any, Self

from redis.asyncio import Redis
from redis.crc import key_slot
from redis.exceptions import ResponseError
from servers import HOST, STARTS_WITHIN, RedisServer, free_port, until

SLOTS = 16_384
NODE_TIMEOUT_MS = 1500


class RedisCluster:
    """`async with RedisCluster(replicas=True) as cluster:` — formed, all slots served, when the body runs.

    `masters[i]` has the i-th part of the slots at first, and `replicas[i]` replicates it.
    """

    def __init__(self, masters: int = 3, *, replicas: bool = False, password: str = "") -> None:
        options = {
            "appendonly": "yes",
            "appendfsync": "always",
            "cluster-enabled": "yes",
            "cluster-node-timeout": str(NODE_TIMEOUT_MS),
            "cluster-config-file": "nodes.conf",
        }
        options |= {"requirepass": password, "masterauth": password} if password else {}
        self._password = password
        self.masters = [_node(options) for _ in range(masters)]
        self.replicas = [_node(options) for _ in range(masters)] if replicas else []
        self._open = AsyncExitStack()

    @property
    def nodes(self) -> list[RedisServer]:
        return [*self.masters, *self.replicas]

    @property
    def url(self) -> str:
        user = f":{self._password}@" if self._password else ""
        return f"redis+cluster://{user}{','.join(f'{HOST}:{node.port}' for node in self.masters)}"

    def client(self, node: RedisServer) -> Redis:
        return Redis(host=HOST, port=node.port, password=self._password or None, socket_timeout=5)

    async def ask(self, node: RedisServer, *words: str | int) -> Any:
        async with self.client(node) as client:
            return await client.execute_command(*words)  # type: ignore[no-untyped-call]

    async def __aenter__(self) -> Self:
        try:
            for node in self.nodes:
                self._open.callback(node.close)
                node.spawn()
            for node in self.nodes:
                await until(node.answers, within=STARTS_WITHIN, what="the nodes answer")
            await self._form()
        except BaseException:
            await self._open.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    def __enter__(self) -> Self:
        """For synchronous fixtures, also where a loop runs; blocks until it is up."""
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, self.__aenter__()).result()

    def __exit__(self, *_: object) -> None:
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, self.__aexit__()).result()

    async def _form(self) -> None:
        first, share = self.nodes[0], SLOTS // len(self.masters)
        for number, node in enumerate(self.masters):
            last = SLOTS - 1 if node is self.masters[-1] else (number + 1) * share - 1
            await self.ask(node, "CLUSTER", "ADDSLOTSRANGE", number * share, last)
        for number, node in enumerate(self.nodes):
            await self.ask(node, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in self.nodes[1:]:
            await self.ask(node, "CLUSTER", "MEET", HOST, first.port, _bus(first))
        await self._all(lambda info: info["cluster_known_nodes"] == str(len(self.nodes)), "all nodes know each other")
        for master, replica in zip(self.masters, self.replicas, strict=False):
            await self.ask(replica, "CLUSTER", "REPLICATE", await self.id_of(master))
        await self._all(lambda info: info["cluster_state"] == "ok", "the cluster is up")
        for replica in self.replicas:
            await until(lambda replica=replica: self._replicates(replica), what="a replica is in step")  # type: ignore[misc]

    async def _all(self, holds: Callable[[dict[str, str]], bool], what: str) -> None:
        async def all_hold() -> bool:
            for node in self.nodes:
                lines = (await self.ask(node, "CLUSTER", "INFO")).decode().split()
                if not holds(dict(line.split(":", 1) for line in lines)):
                    return False
            return True

        await until(all_hold, within=STARTS_WITHIN, what=what)

    async def _replicates(self, node: RedisServer) -> bool:
        async with self.client(node) as client:
            return bool((await client.info("replication")).get("master_link_status") == "up")

    async def id_of(self, node: RedisServer) -> str:
        return str((await self.ask(node, "CLUSTER", "MYID")).decode())

    async def owner(self, key: str) -> RedisServer:
        """The node that serves a key's slot, by its own word."""
        slot = key_slot(key.encode())
        for node in self.nodes:
            for first, last, master, *_ in await self.ask(node, "CLUSTER", "SLOTS"):
                if first <= slot <= last:
                    return next(node for node in self.nodes if node.port == master[1])
        raise AssertionError(f"nobody serves slot {slot}")

    async def move(self, key: str, to: RedisServer) -> int:
        """Move a key's slot, key by key, as `redis-cli --cluster reshard` does; how many keys there were."""
        source = await self.owner(key)
        await self.begin_move(key, to)
        return await self.end_move(key, source, to)

    async def move_in_one_step(self, key: str, to: RedisServer) -> bool:
        """False where the servers cannot do that."""
        source, slot = await self.owner(key), key_slot(key.encode())
        try:
            words = ("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", await self.id_of(to))
            await self.ask(source, *words)
        except ResponseError:
            return False

        async def moved() -> bool:
            return await self.owner(key) is to

        await until(moved, within=20, what="the slot has moved")
        return True

    async def begin_move(self, key: str, to: RedisServer) -> None:
        slot, source = key_slot(key.encode()), await self.owner(key)
        assert source is not to
        await self.ask(to, "CLUSTER", "SETSLOT", slot, "IMPORTING", await self.id_of(source))
        await self.ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", await self.id_of(to))

    async def end_move(self, key: str, source: RedisServer, to: RedisServer) -> int:
        slot, target_id, moved = key_slot(key.encode()), await self.id_of(to), 0
        auth = ("AUTH", self._password) if self._password else ()
        while keys := await self.ask(source, "CLUSTER", "GETKEYSINSLOT", slot, 50):
            await self.ask(source, "MIGRATE", HOST, to.port, "", 0, 5000, *auth, "KEYS", *keys)
            moved += len(keys)
        for node in (to, source, *(node for node in self.masters if node not in (to, source))):
            await self.ask(node, "CLUSTER", "SETSLOT", slot, "NODE", target_id)
        return moved

    async def promoted(self, replica: RedisServer, *, within: float = 30) -> float:
        """Wait until a replica is a master with slots; when that was (`time.monotonic`)."""

        async def is_master() -> bool:
            async with self.client(replica) as client:
                return bool((await client.info("replication"))["role"] == "master")

        await until(is_master, within=within, what="the replica is promoted")
        return time.monotonic()


def _node(options: dict[str, str]) -> RedisServer:
    return RedisServer(None, **options, **{"cluster-port": free_port()})


def _bus(node: RedisServer) -> int:
    return int(node.options["cluster-port"])
