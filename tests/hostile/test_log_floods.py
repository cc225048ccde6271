"""What strangers can cause without end does not fill the log: a few lines in a second, and everything counted."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator

import aiohttp
from hostile.wire_requests import MALFORMED
from servers import HOST, GatewayProcess
from web.inprocess import SECRET, bearer, claims, token

REQUESTS, AT_ONCE = 1000, 50
LINES_A_SECOND = 10


def lines(gateway: GatewayProcess) -> Iterator[dict[str, object]]:
    """All that was logged after the start."""
    for line in gateway.log.splitlines():
        told: dict[str, object] = json.loads(line)
        if told["event"] not in ("gateway.listening", "config.warning"):
            yield told


def assert_few_lines_of_all(gateway: GatewayProcess, event: str, counted: int) -> None:
    """At most so many in any second; each of the kind stands for itself and for those that were left out before it."""
    told = list(lines(gateway))
    a_second = Counter(str(line["timestamp"])[:19] for line in told)
    assert max(a_second.values()) <= LINES_A_SECOND
    of_the_kind = [line for line in told if line["event"] == event]
    assert {line["level"] for line in of_the_kind} == {"warning"}
    assert 0 < sum(1 + int(str(line["left_out"])) for line in of_the_kind) <= counted
    assert len(told) < counted / 4


async def counted(gateway: GatewayProcess, series: str) -> int:
    async with aiohttp.ClientSession(gateway.url) as http, http.get("/metrics") as response:
        found = re.findall(rf"^{series}(?:{{.*}})? (\S+)$", await response.text(), re.MULTILINE)
        return sum(int(float(value)) for value in found)


async def test_malformed_requests() -> None:
    """A thousand of all kinds: each is refused or closed, and is in the metric; the log stays short."""
    kinds = [data for name, data in MALFORMED.items() if len(data) < 30_000 and name != "a body cut off"]
    settings = {"GATEWAY_JWT_SECRET": SECRET, "GATEWAY_PUBLISH_KEYS": "key"}
    async with GatewayProcess(settings) as gateway:
        todo = itertools.islice(itertools.cycle(kinds), REQUESTS)
        refused: Counter[bytes] = Counter()

        async def send() -> None:
            for data in todo:
                reader, writer = await asyncio.open_connection(HOST, gateway.port)
                writer.write(data)
                status = b""
                with contextlib.suppress(ConnectionError):
                    async with asyncio.timeout(10):
                        status = (await reader.readline())[9:12]
                refused[status] += 1
                writer.close()

        await asyncio.gather(*(send() for _ in range(AT_ONCE)))
        assert refused.total() == REQUESTS
        assert all(status == b"" or status.startswith(b"4") for status in refused)
        malformed = await counted(gateway, "gateway_requests_malformed_total")
        assert malformed > REQUESTS / 2
        assert_few_lines_of_all(gateway, "http.malformed", malformed)


async def test_bad_credentials() -> None:
    """A thousand tokens that are none, of streams and of publishers."""
    settings = {"GATEWAY_JWT_SECRET": SECRET, "GATEWAY_PUBLISH_KEYS": "key"}
    good = token(claims())
    async with GatewayProcess(settings) as gateway, aiohttp.ClientSession(gateway.url) as http:
        todo = iter(range(REQUESTS))

        async def send() -> None:
            for number in todo:
                shown = bearer([f"{good}{number}", "garbage", token(claims(), secret="x" * 40)][number % 3])
                async with http.get("/v1/events", headers=shown) as response:
                    assert response.status == 401

        await asyncio.gather(*(send() for _ in range(AT_ONCE)))
        refused = await counted(gateway, "gateway_credentials_refused_total")
        assert refused == REQUESTS
        assert_few_lines_of_all(gateway, "credential.refused", refused)
