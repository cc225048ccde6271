"""`gateway tail` as people run it: against gateways in processes of their own, ended by Ctrl-C or by whoever reads."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from integration.helping import command, over, post
from servers import ROOT, GatewayProcess, until

SECRET = "a-secret-of-the-tests-that-is-long-enough"
KEY = "a-key-of-the-tests"


class Tail:
    """What it has said so far."""

    def __init__(self, directory: Path, process: asyncio.subprocess.Process) -> None:
        self._directory = directory
        self.process = process

    @property
    def out(self) -> list[str]:
        return (self._directory / "out").read_text().splitlines()

    @property
    def err(self) -> list[str]:
        return (self._directory / "err").read_text().splitlines()


@asynccontextmanager
async def tailing(directory: Path, *flags: str, **env: str) -> AsyncIterator[Tail]:
    """Once it is connected."""
    with (directory / "out").open("wb") as out, (directory / "err").open("wb") as err:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", "tail", *flags),
            cwd=ROOT, env=os.environ | env, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
        )  # fmt: skip
    tail = Tail(directory, process)
    try:
        await until(lambda: any("connected" in line for line in tail.err), what="tail is connected")
        yield tail
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def publish(gateway: GatewayProcess, number: int) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    await post(gateway.url, "/v1/users/42/events", {"event_type": "number", "data": number}, headers)


@pytest.mark.slow
async def test_over_a_restart_until_ctrl_c(redis_url: str, prefix: str, tmp_path: Path) -> None:
    """In production, with a token made from the secret: killed, back, nothing lost; Ctrl-C ends it without a trace."""
    settings = over(redis_url, prefix, GATEWAY_JWT_SECRET=SECRET, GATEWAY_PUBLISH_KEYS=KEY, GATEWAY_RETRY_MS="200")
    async with GatewayProcess(settings) as gateway:
        flags = ["--url", gateway.url, "--user", "42", "--json"]
        async with tailing(tmp_path, *flags, GATEWAY_JWT_SECRET=SECRET) as tail:
            await publish(gateway, 1)
            await until(lambda: len(tail.out) == 1)
            gateway.kill()
            await gateway.wait()
            await until(lambda: any("again in" in line for line in tail.err))
            await gateway.start()
            await publish(gateway, 2)
            await until(lambda: len(tail.out) == 2)
            assert [json.loads(line)["data"] for line in tail.out] == [1, 2]
            tail.process.send_signal(signal.SIGINT)
            assert await tail.process.wait() == 130
            assert "Traceback" not in "\n".join(tail.err)
            assert all(line.startswith("gateway: ") for line in tail.err)


async def test_whoever_reads_may_leave(tmp_path: Path) -> None:
    """`gateway tail | head -1` ends with the first event after, and says nothing about it."""
    async with GatewayProcess({}, "--dev") as gateway:
        for _ in range(4):  # more than a pipe holds
            await post(gateway.url, "/v1/users/42/events", [{"event_type": "number", "data": "x" * 100}] * 250)
        tail = f"PYTHONPATH={ROOT} {sys.executable} -m gateway tail --url {gateway.url} --user 42 --from earliest"
        line = f"cd {tmp_path} && {tail} 2>err | head -1; exit ${{PIPESTATUS[0]}}"
        status, out, _ = await command("bash", "-c", line)
        assert status == 141
        assert out.count("\n") == 1
        assert (tmp_path / "err").read_text() == f"gateway: connected to {gateway.url}\n"
