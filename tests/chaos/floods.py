"""Clients who mean harm, or are very many: what the others notice of it, and what is left of them afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from chaos.flooder import FLOODER
from chaos.judge import Verdict
from chaos.scenarios import Scale, open_descriptors, p99, running
from chaos.stage import Stage, stage
from servers import HOST, until

from gateway.broker.redis.bounds import Bounds

BY_ADDRESS = {"GATEWAY_CONNECT_RATE_PER_ADDRESS": "20", "GATEWAY_CONNECT_BURST_PER_ADDRESS": "250"}
"""The others come from one address too, and all at once."""


async def flood(scale: Scale) -> Verdict:
    """500 connects a second from one address, with good tokens and bad ones; 200 others have 500 events/s."""
    return await _flood(scale, {})


async def flood_with_limits(scale: Scale) -> Verdict:
    """The same, where an address may bring 20 newcomers a second."""
    return await _flood(scale, BY_ADDRESS)


async def _flood(scale: Scale, settings: dict[str, str]) -> Verdict:
    async with stage(settings=settings) as s:
        channels = s.users(scale.clients(200))
        async with running(s, scale, channels, scale.rate(500)) as (_, verdict):
            verdict.figures["p99 before"] = await p99(s.clients, scale.seconds(10))
            async with flooded(s, 500) as answers:
                verdict.figures["p99 meanwhile"] = await p99(s.clients, scale.seconds(10))
            verdict.figures["came"] = sum(answers.values())
            verdict.figures["answered"] = dict(sorted(answers.items()))
    return verdict


async def half_open(scale: Scale) -> Verdict:
    """500 clients that connect and send nothing, and 500 that send a byte now and then: all are let go in time."""
    seconds = scale.seconds(10)
    settings = {"GATEWAY_HEADER_TIMEOUT": f"{seconds:g}", "GATEWAY_MAX_PENDING_CONNECTIONS": "5000"}
    async with stage(settings=settings) as s, aiohttp.ClientSession() as publisher:
        gateway, channels = s.gateways[0], s.users(20)
        async with running(s, scale, channels, 100) as (_, verdict):
            await ask(publisher, gateway.url)
            descriptors, count = open_descriptors(gateway.pid), scale.clients(500)
            began = time.monotonic()
            silent = [asyncio.create_task(held(gateway.port, slowly=False)) for _ in range(count)]
            slow = [asyncio.create_task(held(gateway.port, slowly=True)) for _ in range(count)]
            lasted = await asyncio.gather(*silent, *slow)
            verdict.figures["held on for"] = f"{min(lasted):.1f} to {max(lasted):.1f} s"
            verdict.figures["all gone after"] = f"{time.monotonic() - began:.1f} s"
            most = descriptors + Bounds().reads + 2  # connections to Redis that stay open, to be used again
            await until(lambda: open_descriptors(gateway.pid) <= most, what=f"no more than {most} descriptors")
            await ask(publisher, gateway.url)
            assert len(publisher.connector._conns) == 1, "the publisher's connection was kept"  # type: ignore[union-attr]
    return verdict


@asynccontextmanager
async def flooded(s: Stage, rate: float) -> AsyncIterator[Counter[str]]:
    """Newcomers at a rate while the body runs; afterwards it is known what they were answered."""
    answers: Counter[str] = Counter()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "chaos.flooder", str(s.gateways[0].port), str(rate)),
        cwd=Path(__file__).parent.parent,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(f"{s.secret}\n".encode())
    try:
        yield answers
    finally:
        process.stdin.close()
        async with asyncio.timeout(30):
            out = await process.communicate()
    answers.update(json.loads(out[0]))


async def held(port: int, *, slowly: bool) -> float:
    """For how many seconds a connection was kept on which no request comes."""
    began = time.monotonic()
    reader, writer = await asyncio.open_connection(HOST, port, local_addr=(FLOODER, 0))
    ended = asyncio.create_task(reader.read())
    with contextlib.suppress(OSError):
        writer.write(b"GET /livez HTTP/1.1\r\nX: " if slowly else b"")
        while slowly and not ended.done():
            writer.write(b"a")
            await asyncio.wait({ended}, timeout=0.5)
        await ended
    writer.transport.abort()
    return time.monotonic() - began


async def ask(session: aiohttp.ClientSession, url: str) -> None:
    async with session.get(url + "/livez") as response:
        assert response.status == 200
        await response.read()


ALL = (flood, flood_with_limits, half_open)
