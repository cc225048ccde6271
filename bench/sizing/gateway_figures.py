"""What clients coming, staying, leaving and returning, an event to a user and a POST cost one gateway.

It stands before a Redis; the clients are in this process, whose CPU does not count.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import tempfile
import time
from pathlib import Path

from harness import free_port, make_tokens, process, wait_until_up

from .measuring import DATA, PREFIX, Server, cpu_us, kernel_memory, resident

STREAMS = 2000
HEARTBEAT = 5.0  # while measuring


class Gateway:
    """A gateway before that Redis, and its clients."""

    def __init__(self, port: int, tokens: Path) -> None:
        self.port, self.tokens = port, tokens.read_text().split()

    async def open_all(self, cursor: str = "") -> list[tuple[asyncio.StreamWriter, str]]:
        """A stream for each token; with each the id that it begins at."""
        gate = asyncio.Semaphore(64)

        async def one(token: str) -> tuple[asyncio.StreamWriter, str]:
            async with gate:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=4096)
                head = f"GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
                head += f"Last-Event-ID: {cursor}\r\n" if cursor else ""
                writer.write((head + "\r\n").encode())
                seen = await reader.readuntil(b"id: ")
                assert seen.startswith(b"HTTP/1.1 200"), seen
                return writer, (await reader.readline()).strip().decode()

        return await asyncio.gather(*(one(token) for token in self.tokens))

    async def posts(self, key: str, count: int) -> None:
        """POST `count` events over eight connections, one at a time on each."""

        async def one() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            body = b'{"event_type": "sync.accounts.completed", "data": "%s"}' % (b"x" * DATA)
            head = f"POST /v1/users/user-1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            for _ in range(count // 8):
                writer.write(head.encode() + body)
                answer = await reader.readuntil(b"}")
                assert b" 202 " in answer.splitlines()[0], answer
            writer.close()

        await asyncio.gather(*(one() for _ in range(8)))


async def gateway_figures(server: Server) -> dict[str, float]:
    """What clients coming, staying, leaving and returning, an event to a user and a POST cost."""
    secret, key, port = secrets.token_hex(32), secrets.token_hex(16), free_port()
    env = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")} | {
        "GATEWAY_PORT": str(port),
        "GATEWAY_BROKER_URL": f"redis://127.0.0.1:{server.port}",
        "GATEWAY_CHANNEL_PREFIX": PREFIX,
        "GATEWAY_JWT_SECRET": secret,
        "GATEWAY_PUBLISH_KEYS": key,
        "GATEWAY_HEARTBEAT_INTERVAL": str(HEARTBEAT),
        "GATEWAY_LINGER_SECONDS": "1",
        "GATEWAY_DRAIN_SECONDS": "0",
    }
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        log, file = Path(folder, "log"), Path(folder, "tokens")
        with process([sys.executable, "-m", "gateway", "serve"], env, log) as pid:
            make_tokens(file, secret, STREAMS)
            gateway = Gateway(port, file)
            wait_until_up(pid, port, "/readyz", log)

            async def spent(seconds: float, of: int = pid) -> float:
                start = cpu_us(of)
                await asyncio.sleep(seconds)
                return (cpu_us(of) - start) / seconds

            await asyncio.sleep(1)
            found["idle_us"], redis_idle = await spent(3), await spent(2, server.pid)
            found["process_bytes"] = before = resident(pid)
            held, kernel = server.memory(), kernel_memory()
            used, redis_used, began = cpu_us(pid), cpu_us(server.pid), time.monotonic()
            streams = await gateway.open_all()
            found["connect_us"] = (cpu_us(pid) - used) / STREAMS
            redis_used += redis_idle * (time.monotonic() - began)
            found["redis_connect_us"] = (cpu_us(server.pid) - redis_used) / STREAMS
            await asyncio.sleep(1)
            found["connection_bytes"] = (resident(pid) - before) / STREAMS
            found["redis_channel_bytes"] = (server.memory() - held) / STREAMS
            found["socket_bytes"] = (kernel_memory() - kernel) / STREAMS / 2
            quiet = await spent(2 * HEARTBEAT)
            found["heartbeat_us"] = (quiet - found["idle_us"]) * HEARTBEAT / STREAMS
            used, redis_used = cpu_us(pid), cpu_us(server.pid)
            for writer, _ in streams:
                writer.close()
            await asyncio.sleep(3)
            found["leave_us"] = (cpu_us(pid) - used - 3 * found["idle_us"]) / STREAMS
            found["redis_leave_us"] = (cpu_us(server.pid) - redis_used - 3 * redis_idle) / STREAMS
            used, redis_used, began = cpu_us(pid), cpu_us(server.pid), time.monotonic()
            streams = await gateway.open_all(streams[0][1])
            await asyncio.sleep(1)
            redis_used += redis_idle * (time.monotonic() - began)
            found["resume_us"] = (cpu_us(pid) - used - quiet) / STREAMS
            found["redis_resume_us"] = (cpu_us(server.pid) - redis_used) / STREAMS
            found["user_delivery_us"] = await _deliveries(server, pid, quiet)
            used, began = cpu_us(pid), time.monotonic()
            await gateway.posts(key, 4000)  # each is delivered too
            delivered = found["user_delivery_us"] + quiet * (time.monotonic() - began) / 4000
            found["post_us"] = (cpu_us(pid) - used) / 4000 - delivered
            for writer, _ in streams:
                writer.close()
    return found


async def _deliveries(server: Server, pid: int, quiet: float) -> float:
    """Gateway CPU per event to a user: 1,000 a second, ten in a call."""
    used, began, sent = cpu_us(pid), time.monotonic(), 0
    with server.connect() as sock:
        while sent < 4000:
            sock.sendall(server.publish([f"user:user-{(sent + n) * 37 % STREAMS}" for n in range(10)]))
            sent += 10
            await asyncio.sleep(max(0.0, began + sent / 1000 - time.monotonic()))
            sock.recv(65536)
    await asyncio.sleep(0.5)
    return (cpu_us(pid) - used - quiet * (time.monotonic() - began)) / sent
