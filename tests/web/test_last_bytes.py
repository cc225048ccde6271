"""The end of a stream is the end, also for a client that takes its bytes slowly, or whose request had to wait."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from servers import HOST, free_port, until
from web.inprocess import SECRET, Served, bearer, claims, closed_because, served, token

from gateway.config import PublishKey
from gateway.hub import State

KEYS = (PublishKey("all", "key"),)


@asynccontextmanager
async def gateway(max_buffer_bytes: int = 40_000, **more: float) -> AsyncIterator[Served]:
    sizes = {"max_event_bytes": 20_000, "max_buffer_bytes": max_buffer_bytes}
    async with served(jwt_secret=SECRET, publish_keys=KEYS, **sizes, **more) as running:
        yield running


@contextmanager
def one_that_takes_nothing(gateway: Served, ends: float, receives: int = 4096) -> Iterator[socket.socket]:
    with socket.create_connection((HOST, gateway.port)) as stalled:
        shown = token({"sub": "alice", "exp": ends})
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
        stalled.sendall(f"GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {shown}\r\n\r\n".encode())
        yield stalled


async def fill(gateway: Served) -> None:
    """Publish until more waits for the client than its socket takes."""
    await until(lambda: gateway.gateway.hub.connections)
    batch = [{"event_type": "x", "data": "a" * 15_000}] * 40
    (connection,) = gateway.gateway.hub.connections
    while connection.state in (State.CATCHING_UP, State.LIVE):
        async with gateway.http.post("/v1/users/alice/events", json=batch, headers=bearer("key")) as response:
            assert response.status == 202


def nothing_is_left(gateway: Served) -> bool:
    return not gateway.gateway.hub.connections and not gateway.gateway.ending


async def test_a_token_ends_the_stream_of_who_does_not_read() -> None:
    """What is buffered for a client is not given to it for longer than its token is good."""
    async with gateway() as running:
        ends = time.time() + 4
        with one_that_takes_nothing(running, ends):
            await fill(running)
            await until(lambda: nothing_is_left(running), within=10)
            assert ends - 5 <= time.time() <= ends + 1
        assert closed_because(running, "token_expired") == 1


async def test_who_is_sent_away_does_not_read_on() -> None:
    """Within two seconds the connection is closed, whatever waits for it."""
    async with gateway() as running:
        with one_that_takes_nothing(running, time.time() + 600):
            await fill(running)
            path = "/v1/users/alice/connections"
            async with running.http.delete(path, headers=bearer("key")) as response:
                assert response.status == 202
            await until(lambda: nothing_is_left(running), within=2)
        assert closed_because(running, "revoked") == 1


async def sip(sock: socket.socket) -> None:
    """Take a little, again and again: neither the kernel nor the relay finds anything to object to."""
    sock.setblocking(False)
    while await asyncio.get_running_loop().sock_recv(sock, 16_384):
        await asyncio.sleep(0.1)


async def test_who_is_only_sent_elsewhere_may_read_on_for_a_while() -> None:
    """For the send timeout: a client that must come back anyway has time for its last bytes, but not for ever."""
    async with gateway(2_000_000, max_connection_age=1.0, send_timeout=2.0) as running:
        with one_that_takes_nothing(running, time.time() + 600, receives=65_536) as slow:
            sipping = asyncio.create_task(sip(slow))
            await fill(running)
            await until(lambda: closed_because(running, "max_connection_age") == 1)
            assert running.gateway.ending
            await until(lambda: nothing_is_left(running), within=5)
            sipping.cancel()
            await asyncio.gather(sipping, return_exceptions=True)


async def test_a_token_that_ended_while_the_request_waited_opens_nothing() -> None:
    """Without a broker a stream waits two seconds for its position: a token that ends meanwhile is refused."""
    async with served(jwt_secret=SECRET, publish_keys=KEYS, broker_url=f"redis://{HOST}:{free_port()}") as running:
        async with running.http.get("/v1/events", headers=bearer(token(claims(seconds=0.8)))) as response:
            assert response.status == 401
            assert "expired" in (await response.json())["detail"]
        assert nothing_is_left(running)
        assert closed_because(running, "token_expired") == 1
        refused = running.gateway.metrics.credentials_refused.labels("subscribe", "expired")
        assert refused._value.get() == 1
