"""Clients that connect and are gone before they have their stream leave nothing behind, wherever they were by then."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import socket
from ipaddress import ip_network

from servers import HOST, RedisServer, until
from streams import Stream
from web.inprocess import Served, served

from gateway.broker.redis.bounds import Bounds

LEAVERS, AT_ONCE = 1000, 50
ABORTS = b"\x01\0\0\0\0\0\0\0"
"""SO_LINGER of no time: what is closed is reset."""


async def leave(served: Served, number: int) -> None:
    """Ask for a stream, or for a part of one, and be gone: at once, while Redis is asked, or with the first bytes."""
    sock = socket.socket()
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_connect(sock, (HOST, served.port))
        head = f"GET /v1/events?user=leaver{number}&topic=t{number % 7} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        await loop.sock_sendall(sock, head[: random.choice([10, len(head), len(head), len(head)])])
        await asyncio.sleep(random.choice([0, 0, 0.001, 0.003, 0.01, 0.03]))
        if random.random() < 0.5:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORTS)
    finally:
        sock.close()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_nothing_is_left_of_those_who_leave_mid_subscribe(redis_server: RedisServer, prefix: str) -> None:
    """Channels, tasks, descriptors, counts: all are back to where they were, and whoever stayed has its events."""
    settings = {"max_connections_per_address": 5000, "trusted_proxies": (ip_network("10.0.0.0/8"),)}
    async with (
        served(broker_url=redis_server.url, channel_prefix=prefix, **settings) as gateway,
        Stream(gateway.url, "user=stays") as stream,
    ):
        state = gateway.gateway
        await gateway.publish("stays", "before")
        await stream.next_of("before")
        tasks, before = len(asyncio.all_tasks()), descriptors()
        for start in range(0, LEAVERS, AT_ONCE):
            await asyncio.gather(*(leave(gateway, start + n) for n in range(AT_ONCE)))
            await gateway.publish("stays", "meanwhile", start)
        await until(lambda: state.relays.count == 1, within=30, what="only who stays is left")
        await until(
            lambda: set(channels(gateway)) == {"user:stays", "broadcast"}, within=30, what="channels are dropped"
        )
        await until(lambda: len(asyncio.all_tasks()) <= tasks, within=30, what=f"no more than {tasks} tasks")
        assert state.newcomers.streams == {HOST: 1}
        assert not any(state.registry.here(f"leaver{number}") for number in range(LEAVERS))
        waiting = state.metrics.registry.get_sample_value("gateway_connections_waiting", {"room": "pending"})
        assert waiting == 0
        gc.collect()
        most = before + Bounds().reads + 2  # connections to Redis that stay open, to be used again
        await until(lambda: descriptors() <= most, within=30, what=f"no more than {most} descriptors")
        assert stream.data("meanwhile") == list(range(0, LEAVERS, AT_ONCE))


def channels(served: Served) -> list[str]:
    return [name for relay in served.gateway.relays for name in relay.hub.channels]
