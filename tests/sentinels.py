"""A service that fails over: a master, its replica and three sentinels, real processes on loopback."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self

from redis.asyncio import Redis
from servers import HOST, STARTS_WITHIN, RedisServer, free_port, redis_binary, until

SERVICE = "main"
DOWN_AFTER_MS = 500
QUORUM = 2


class Sentinel:
    """One sentinel that watches a master; keeps its port and what it knows."""

    def __init__(self, master: RedisServer, *, password: str = "", master_password: str = "") -> None:
        self.port = free_port()
        self._directory = tempfile.mkdtemp(prefix="test-sentinel-")
        self._process: subprocess.Popen[bytes] | None = None
        lines = [
            f"port {self.port}",
            f"bind {HOST}",
            f"dir {self._directory}",
            "logfile log",
            "protected-mode no",
            f"sentinel monitor {SERVICE} {HOST} {master.port} {QUORUM}",
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}",
            f"sentinel failover-timeout {SERVICE} 3000",
        ]
        lines += [f"sentinel auth-pass {SERVICE} {master_password}"] if master_password else []
        lines += [f"requirepass {password}", f"sentinel sentinel-pass {password}"] if password else []
        self._config = Path(self._directory, "sentinel.conf")
        self._config.write_text("\n".join(lines) + "\n")

    @property
    def log(self) -> str:
        return Path(self._directory, "log").read_text(errors="replace")

    def start(self) -> None:
        words = [redis_binary(), str(self._config), "--sentinel"]
        null = subprocess.DEVNULL
        self._process = subprocess.Popen(words, stdin=null, stdout=null, stderr=null)

    def answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the sentinel ended:\n{self.log}"
        try:
            with socket.create_connection((HOST, self.port), timeout=1):
                return True
        except OSError:
            return False

    def pause(self) -> None:
        """SIGSTOP: it hangs."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)


class Service:
    """`async with Service() as service:` — up, replicated, and known to all sentinels when the body runs.

    `servers[0]` is the first master. With passwords, all servers want the one, and all sentinels the other.
    """

    def __init__(self, *, password: str = "", sentinel_password: str = "", **options: str) -> None:
        lasting = {"appendonly": "yes", "appendfsync": "always"} | options
        lasting |= {"requirepass": password, "masterauth": password} if password else {}
        master = RedisServer(None, **lasting)
        replica = RedisServer(None, **lasting, replicaof=f"{HOST} {master.port}")
        self.servers = [master, replica]
        self.sentinels = [
            Sentinel(master, password=sentinel_password, master_password=password) for _ in range(QUORUM + 1)
        ]
        self._password = password
        self._sentinel_password = sentinel_password
        self._open = AsyncExitStack()

    @property
    def url(self) -> str:
        hosts = ",".join(f"{HOST}:{sentinel.port}" for sentinel in self.sentinels)
        user = f":{self._password}@" if self._password else ""
        option = f"?sentinel_password={self._sentinel_password}" if self._sentinel_password else ""
        return f"redis+sentinel://{user}{hosts}/{SERVICE}/0{option}"

    def client(self, server: RedisServer) -> Redis:
        return Redis(host=HOST, port=server.port, password=self._password or None, socket_timeout=2)

    async def __aenter__(self) -> Self:
        try:
            for server in self.servers:
                self._open.callback(server.close)
                await server.start()
            for sentinel in self.sentinels:
                self._open.callback(sentinel.close)
                sentinel.start()
            await until(lambda: all(s.answers() for s in self.sentinels), what="the sentinels answer")
            await until(self._known, within=STARTS_WITHIN, what="the sentinels know each other and the replica")
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

    async def _known(self) -> bool:
        for sentinel in self.sentinels:
            async with self._ask(sentinel) as client:
                state = await client.execute_command("SENTINEL MASTER", SERVICE)  # type: ignore[no-untyped-call]
            if int(state["num-slaves"]) < 1 or int(state["num-other-sentinels"]) < len(self.sentinels) - 1:
                return False
        async with self.client(self.servers[1]) as client:
            return bool((await client.info("replication"))["master_link_status"] == "up")

    def _ask(self, sentinel: Sentinel) -> Redis:
        return Redis(host=HOST, port=sentinel.port, password=self._sentinel_password or None, socket_timeout=2)

    async def promoted(self, *, within: float = 30) -> float:
        """Wait until another server than the first is master; when that was (`time.monotonic`)."""
        async with self.client(self.servers[1]) as client:

            async def is_master() -> bool:
                return bool((await client.info("replication"))["role"] == "master")

            await until(is_master, within=within, what="the replica is promoted")
        return time.monotonic()

    async def failover(self) -> float:
        """As an operator asks for it."""
        async with self._ask(self.sentinels[0]) as client:

            async def accepted() -> bool:
                try:
                    await client.execute_command("SENTINEL FAILOVER", SERVICE)  # type: ignore[no-untyped-call]
                except Exception:
                    await asyncio.sleep(0.2)
                    return False
                return True

            await until(accepted, what="a sentinel begins a failover")
        return await self.promoted()
