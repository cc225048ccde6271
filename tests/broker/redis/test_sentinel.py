"""Which server is believed to be the master, and what is not published to one that is none. The failovers themselves
are in `tests/chaos`, and the contract runs over Sentinel too."""

from __future__ import annotations

import asyncio
import time

import pytest
from broker.listening import publish
from broker.redis.processes import ALICE, idle, running
from broker.redis.test_forms import fails
from redis.asyncio import Redis
from sentinels import SERVICE
from servers import HOST, RedisServer, free_port, until

from gateway.broker.redis.connect import Address, client
from gateway.broker.redis.sentinel import Elected
from gateway.broker.redis.urls import read
from gateway.errors import BrokerUnavailable


class Told:
    """A sentinel as far as it is asked: names an address, under a configuration epoch, or hangs."""

    def __init__(self, server: RedisServer | None, epoch: int = 0, *, hangs: bool = False) -> None:
        self.port = free_port()
        self._address = None if server is None else (HOST, server.port)
        self._epoch = epoch
        self._hangs = hangs

    def names(self, server: RedisServer, epoch: int) -> None:
        self._address, self._epoch = (HOST, server.port), epoch

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._serve, HOST, self.port)
        return f"{HOST}:{self.port}"

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            if self._hangs:
                continue
            if b"GET-MASTER-ADDR-BY-NAME" in data:
                writer.write(b"*-1\r\n" if self._address is None else _words(*self._address))
            elif b"MASTER" in data:
                writer.write(_words("flags", "master", "config-epoch", self._epoch))
        writer.close()


def _words(*words: object) -> bytes:
    texts = [str(word).encode() for word in words]
    return b"*%d\r\n" % len(texts) + b"".join(b"$%d\r\n%b\r\n" % (len(text), text) for text in texts)


def url_of(*hosts: str) -> str:
    return f"redis+sentinel://{','.join(hosts)}/{SERVICE}"


async def found(*hosts: str) -> int:
    """The port of the server that is believed to be the master."""
    return (await Elected(read(url_of(*hosts))).find()).port


async def test_the_newest_word_is_believed(redis_server: RedisServer) -> None:
    """A sentinel that slept through a failover names the old master; whoever was there names the new one."""
    async with RedisServer() as old, Told(old, 3) as asleep, Told(redis_server, 10) as awake:
        assert await found(asleep, awake) == await found(awake, asleep) == redis_server.port


async def test_one_that_hangs_holds_nobody_up(redis_server: RedisServer) -> None:
    """Nor does one that is gone, or one that does not know the service."""
    async with Told(None, hangs=True) as hangs, Told(None) as knows_nothing, Told(redis_server, 1) as knows:
        gone = f"{HOST}:{free_port()}"
        began = time.monotonic()
        assert await found(hangs, gone, knows_nothing, knows) == redis_server.port
        assert time.monotonic() - began < 5
        says = ("no sentinel names a master", f"{hangs}: no answer", "GATEWAY_BROKER_URL")
        await fails(url_of(hangs, gone, knows_nothing), *says)


async def test_nothing_is_published_to_a_replica(redis_server: RedisServer) -> None:
    """A server that the sentinels name, and that is no master, is left again; when it is promoted, it is used."""
    async with (
        RedisServer(replicaof=f"{HOST} {redis_server.port}") as replica,
        Told(replica, 1) as sentinel,
        Redis.from_url(replica.url) as admin,
        running(url_of(sentinel), up=False) as (broker, heard),
    ):
        await until(lambda: "no master any more" in (broker.health() or ""))
        with pytest.raises(BrokerUnavailable, match="no master any more"):
            await publish(broker, ALICE, 1)
        await admin.replicaof("NO", "ONE")
        await until(lambda: broker.health() is None)
        await broker.subscribe(ALICE)
        await publish(broker, ALICE, 2)
        await heard.hears(2)


async def test_a_master_that_is_demoted_under_a_publisher(redis_server: RedisServer) -> None:
    """The publish is refused, and nothing is stored; the next one asks the sentinels again, and finds another."""
    async with RedisServer() as successor, Redis.from_url(redis_server.url) as admin:
        told = Told(redis_server, 1)
        async with told as sentinel, idle(url_of(sentinel)) as broker:
            await publish(broker, ALICE, 1)
            await admin.replicaof(HOST, str(successor.port))
            told.names(successor, 2)
            with pytest.raises(BrokerUnavailable, match=r"read.?only"):
                await publish(broker, ALICE, 2)
            await publish(broker, ALICE, 3)
            async with Redis.from_url(successor.url) as new:
                assert await new.xlen(f"t:history:{ALICE}") == 1


async def test_connections_ask_the_way_anew(redis_server: RedisServer) -> None:
    """Each connection goes where the route leads at that moment."""
    async with RedisServer() as other:

        class Moving:
            elected = True
            now = redis_server

            async def find(self) -> Address:
                return Address(HOST, self.now.port)

            def doubt(self) -> None: ...

        moving = Moving()
        async with client(moving, timeout=5) as redis:
            await redis.set("here", 1)
            moving.now = other
            assert await redis.get("here") == b"1"
            await redis.connection_pool.disconnect()
            assert await redis.get("here") is None
