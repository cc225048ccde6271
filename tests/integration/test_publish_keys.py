"""Publish keys change while the gateway runs: their file is read again on SIGHUP."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import aiohttp
import pytest
from integration.helping import over
from integration.test_workers import pids
from servers import GatewayProcess, until

EVENT = {"event_type": "x", "data": 1}


async def status(gateway: GatewayProcess, key: str) -> int:
    # A connection for each request, so that any of several workers may get it.
    async with (
        aiohttp.ClientSession(headers={"Connection": "close"}) as http,
        http.post(gateway.url + "/v1/broadcast", json=EVENT, headers={"Authorization": f"Bearer {key}"}) as response,
    ):
        return response.status


async def always(gateway: GatewayProcess, key: str, wanted: int) -> bool:
    """By every worker, which has a chance of 1 in 65,536 to be wrong about two."""
    return {await status(gateway, key) for _ in range(16)} == {wanted}


def events(gateway: GatewayProcess, name: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in gateway.log.splitlines() if f'"{name}"' in line]


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_rotation_without_a_restart(redis_url: str, prefix: str, tmp_path: Path, workers: int) -> None:
    """Old key, then both, then the new one; a bad file changes nothing, is told, and ends no process."""
    file = tmp_path / "keys"
    file.write_text("shop:old-key:broadcast\n")
    settings = over(
        redis_url,
        prefix,
        GATEWAY_WORKERS=str(workers),
        GATEWAY_PUBLISH_KEYS_FILE=str(file),
        GATEWAY_JWT_SECRET="x" * 32,
    )
    async with GatewayProcess(settings) as gateway:
        assert await always(gateway, "old-key", 202)
        assert await always(gateway, "new-key", 401)

        file.write_text("shop:old-key:broadcast\n# from today on\nshop:new-key:broadcast\n")
        gateway.send_signal(signal.SIGHUP)
        await until(lambda: always(gateway, "new-key", 202))
        assert await always(gateway, "old-key", 202)

        file.write_text("shop:new-key:broadcast\n")
        gateway.send_signal(signal.SIGHUP)
        await until(lambda: always(gateway, "old-key", 401))
        assert await always(gateway, "new-key", 202)

        file.write_text("shop:other-key:everything\n")
        gateway.send_signal(signal.SIGHUP)
        await until(lambda: len(events(gateway, "publish_keys.kept")) == (workers if workers == 1 else workers + 1))
        assert await always(gateway, "new-key", 202)
        assert "GATEWAY_PUBLISH_KEYS" in str(events(gateway, "publish_keys.kept")[0]["problem"])
        assert not [key for key in ("old-key", "new-key", "other-key") if key in gateway.log]


async def test_a_worker_that_is_started_later_has_the_keys_of_today(
    redis_url: str, prefix: str, tmp_path: Path
) -> None:
    """A worker that takes the place of one that died knows the keys that were read since, and not the first ones."""
    file = tmp_path / "keys"
    file.write_text("old-key")
    settings = over(
        redis_url, prefix, GATEWAY_WORKERS="2", GATEWAY_PUBLISH_KEYS_FILE=str(file), GATEWAY_JWT_SECRET="x" * 32
    )
    async with GatewayProcess(settings) as gateway:
        file.write_text("new-key")
        gateway.send_signal(signal.SIGHUP)
        await until(lambda: always(gateway, "new-key", 202))
        before = pids(gateway)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        await until(lambda: len(pids(gateway)) == 2 and not set(pids(gateway)) & set(before), within=30)
        await until(lambda: _answers(gateway), within=30)
        assert await always(gateway, "new-key", 202)
        assert await always(gateway, "old-key", 401)


async def _answers(gateway: GatewayProcess) -> bool:
    try:
        async with aiohttp.ClientSession() as http, http.get(gateway.url + "/readyz") as response:
            return response.status == 200
    except (aiohttp.ClientError, OSError):
        return False


async def test_without_a_file_a_hangup_changes_nothing() -> None:
    """A process whose keys are in its environment stays, and says that there is nothing to read."""
    async with GatewayProcess({"GATEWAY_PUBLISH_KEYS": "a-key", "GATEWAY_JWT_SECRET": "x" * 32}) as gateway:
        gateway.send_signal(signal.SIGHUP)
        await until(lambda: events(gateway, "publish_keys.kept"))
        assert await status(gateway, "a-key") == 202


async def test_a_development_gateway_ends_with_its_terminal() -> None:
    """With --dev a hangup is what it is to any program."""
    async with GatewayProcess({}, "--dev") as gateway:
        gateway.send_signal(signal.SIGHUP)
        assert await gateway.wait() == -signal.SIGHUP
