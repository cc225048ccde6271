"""What tests with real processes share: settings, publishing with sequence numbers, and running commands."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import aiohttp
import pytest
from servers import ROOT, GatewayProcess
from streams import Stream

COMMAND_WITHIN = 120.0


class Pair(NamedTuple):
    one: GatewayProcess
    two: GatewayProcess


@asynccontextmanager
async def two_gateways(settings: Mapping[str, str], others: Mapping[str, str] | None = None) -> AsyncIterator[Pair]:
    """Two gateways in development mode, started at once; `others` are the settings of the second."""
    pair = Pair(GatewayProcess(settings, "--dev"), GatewayProcess(others or settings, "--dev"))
    async with AsyncExitStack() as stack:
        await asyncio.gather(*(stack.enter_async_context(gateway) for gateway in pair))
        yield pair


def over(redis_url: str, prefix: str, **more: str) -> dict[str, str]:
    """The settings of a gateway over this Redis."""
    return {"GATEWAY_BROKER_URL": redis_url, "GATEWAY_CHANNEL_PREFIX": prefix} | more


def quiet_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("GATEWAY_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


async def post(url: str, path: str, body: object, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Publish; the decoded answer, which must be a 202."""
    async with aiohttp.ClientSession() as http, http.post(url + path, json=body, headers=headers) as response:
        assert response.status == 202, f"{response.status} {await response.text()}"
        answer: dict[str, Any] = await response.json()
        return answer


async def status_of(url: str, path: str) -> tuple[int, dict[str, Any]]:
    async with aiohttp.ClientSession() as http, http.get(url + path) as response:
        return response.status, await response.json(content_type=None)


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


async def command(*words: str, env: Mapping[str, str] | None = None) -> Outcome:
    """Run a program to its end."""
    process = await asyncio.create_subprocess_exec(
        *words,
        cwd=ROOT,
        env=os.environ | dict(env or {}),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(COMMAND_WITHIN):
            out, err = await process.communicate()
    except TimeoutError:
        process.kill()
        out, err = await process.communicate()
        raise AssertionError(f"{words} did not end within {COMMAND_WITHIN} s:\n{out!r}\n{err!r}") from None
    assert process.returncode is not None
    return Outcome(process.returncode, out.decode(), err.decode())


async def gateway_command(*words: str, env: Mapping[str, str] | None = None) -> Outcome:
    return await command(sys.executable, "-m", "gateway", *words, env=env)


@dataclass
class Publishing:
    """Numbers that were published and acknowledged, in order; `failures` is how often one had to be sent again."""

    acknowledged: list[int] = field(default_factory=list)
    failures: int = 0


@asynccontextmanager
async def publishing(
    *urls: str, user: str = "alice", per_second: float = 100, event_type: str = "number"
) -> AsyncIterator[Publishing]:
    """Publish numbers for as long as the body runs, each until it was acknowledged (the key makes that once)."""
    state = Publishing()
    stop = asyncio.Event()
    run = os.urandom(6).hex()

    async def publish(http: aiohttp.ClientSession, number: int) -> None:
        while True:
            url = urls[(number + state.failures) % len(urls)]
            headers = {"Idempotency-Key": f"{run}-{number}"}
            body = {"event_type": event_type, "data": number}
            try:
                async with http.post(f"{url}/v1/users/{user}/events", json=body, headers=headers) as response:
                    if response.status == 202:
                        break
                    assert response.status == 503, f"{response.status} {await response.text()}"
            except (aiohttp.ClientConnectionError, TimeoutError):
                pass
            state.failures += 1
            await asyncio.sleep(0.05)
        state.acknowledged.append(number)

    async def publish_all() -> None:
        clock = asyncio.get_running_loop().time
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
            began = clock()
            for number in itertools.count():
                if stop.is_set():
                    return
                await publish(http, number)
                await asyncio.sleep(began + (number + 1) / per_second - clock())

    task = asyncio.create_task(publish_all(), name="publishing")
    try:
        yield state
    finally:
        stop.set()
        async with asyncio.timeout(15):
            await task


def numbers(*streams: Stream) -> list[int]:
    """The sequence numbers that these streams got, one stream after the other."""
    return [number for stream in streams for number in stream.data("number")]


def blocks(stream: Stream) -> list[bytes]:
    """The body as blocks; the last is empty when it ended whole."""
    return bytes(stream.raw).split(b"\n\n")


def told(stream: Stream, event_type: str) -> Any:
    return next(json.loads(event.data) for event in stream.events if event.type == event_type)
