"""Which node of a Redis Cluster serves what.

A partition is one slot, by the hash tag of its keys, so it is on one node at a time, and there all is as on a single
Redis. This is the route to it. What the cluster says is believed until somebody has reason to doubt it: a connection
that broke, a `MOVED`, an announcement that the slot left. Then three nodes at random are asked at once, each for 0.3 s,
and the one in the newest epoch is believed.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any, NamedTuple

from redis.crc import key_slot
from redis.exceptions import RedisError

from .connect import Address, Fixed, client
from .urls import Target

ANSWER_WITHIN = 0.3
ASKED_AT_ONCE = 3

Host = tuple[str, int]


class _Word(NamedTuple):
    epoch: int
    ranges: list[tuple[int, int, Host]]
    nodes: set[Host]


class Cluster:
    """What is known of it, for all routes of a process."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._known: _Word | None = None

    async def owner(self, slot: int) -> Address:
        """Raises `OSError` when no node can say, or nobody serves the slot."""
        word = self._known = self._known or await self._newest()
        for first, last, host in word.ranges:
            if first <= slot <= last:
                return self._at(host)
        self.doubt()
        raise OSError(f"the cluster has no node for slot {slot}: `redis-cli --cluster check` tells why")

    def doubt(self) -> None:
        self._known = None

    async def _newest(self) -> _Word:
        hosts = list(self._target.hosts)
        random.shuffle(hosts)
        said: list[str] = []
        while hosts:
            some, hosts = hosts[:ASKED_AT_ONCE], hosts[ASKED_AT_ONCE:]
            answers = await asyncio.gather(*map(self._ask, some), return_exceptions=True)
            words = [answer for answer in answers if isinstance(answer, _Word)]
            if words:
                newest = max(words, key=lambda word: word.epoch)
                return await self._second_opinion(newest, some)
            said += [f"{host}:{port}: {_reason(a)}" for (host, port), a in zip(some, answers, strict=True)]
        raise OSError(f"no node of the cluster says who serves what ({'; '.join(said)})")

    async def _second_opinion(self, newest: _Word, asked: list[Host]) -> _Word:
        """Of nodes that were not in the URL: those there may be the ones that everybody else has left."""
        others = sorted(newest.nodes - set(asked))
        some = random.sample(others, min(len(others), ASKED_AT_ONCE))
        answers = await asyncio.gather(*map(self._ask, some), return_exceptions=True)
        return max(newest, *(a for a in answers if isinstance(a, _Word)), newest, key=lambda word: word.epoch)

    async def _ask(self, host: Host) -> _Word:
        async with asyncio.timeout(ANSWER_WITHIN), client(Fixed(self._at(host)), timeout=ANSWER_WITHIN) as node:
            slots: Any = await node.execute_command("CLUSTER", "SLOTS")  # type: ignore[no-untyped-call]
            info: Any = await node.execute_command("CLUSTER", "INFO")  # type: ignore[no-untyped-call]
        told = dict(line.split(":", 1) for line in info.decode().split())
        ranges, nodes = [], set()
        for first, last, *servers in slots:
            named = [((name or b"").decode(), port) for name, port, *_ in servers]
            known = [(host[0] if name in ("", "?") else name, port) for name, port in named]
            ranges.append((first, last, known[0]))
            nodes.update(known)
        return _Word(int(told.get("cluster_current_epoch", 0)), ranges, nodes)

    def _at(self, host: Host) -> Address:
        return Address(*host, login=self._target.login, tls=self._target.tls)


class SlotOwner:
    """The route to the node that serves a key's slot."""

    elected = True

    def __init__(self, cluster: Cluster, key: str) -> None:
        self._cluster = cluster
        self._slot = key_slot(key.encode())

    async def find(self) -> Address:
        return await self._cluster.owner(self._slot)

    def doubt(self) -> None:
        self._cluster.doubt()


def _reason(answer: object) -> str:
    if isinstance(answer, TimeoutError):
        return f"no answer within {ANSWER_WITHIN} s"
    return str(answer) if isinstance(answer, RedisError | OSError) else repr(answer)
