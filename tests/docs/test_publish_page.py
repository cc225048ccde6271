"""The programs of docs/publish.md, as they stand there, against a real gateway: each of them publishes its event."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest
from integration.helping import command, over
from servers import ROOT, GatewayProcess, until
from streams import Stream
from web.inprocess import SECRET, claims, token

PAGE = (ROOT / "docs" / "publish.md").read_text()
KEY = "a-publish-key-of-the-page"
CALLED = "\n\nimport asyncio\n\nasyncio.run(shipped('42', 7))\n"


def program(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def words(language: str, folder: Path) -> list[str]:
    """How a program of this language is run."""
    file = (
        folder
        / {"sh": "publish.sh", "python": "publish.py", "js": "publish.mjs", "go": "main.go", "php": "p.php"}[language]
    )
    file.write_text(program(language) + (CALLED if language == "python" else ""))
    runner = {"sh": ["sh"], "python": [sys.executable], "js": ["node"], "go": ["go", "run"], "php": ["php"]}[language]
    if shutil.which(runner[0]) is None:
        pytest.skip(f"there is no {runner[0]}")
    return [*runner, str(file)]


@pytest.mark.parametrize("language", ["sh", "python", "js", "go", "php"])
async def test_each_program_publishes(language: str, tmp_path: Path) -> None:
    """With the key, to the user, without a word."""
    run = words(language, tmp_path)
    settings = {"GATEWAY_JWT_SECRET": SECRET, "GATEWAY_PUBLISH_KEYS": KEY}
    async with (
        GatewayProcess(settings) as gateway,
        Stream(gateway.url, token=token(claims("42"))) as stream,
    ):
        env = {
            "GATEWAY": gateway.url,
            "KEY": KEY,
            "GATEWAY_PUBLISHER_URL": gateway.url,
            "GATEWAY_PUBLISHER_KEY": KEY,
            "GOTOOLCHAIN": "local",
            "GOFLAGS": "-mod=mod",
            "PYTHONPATH": str(ROOT),
        }
        outcome = await command(*run, env=os.environ | env)
        assert (outcome.status, outcome.err) == (0, "")
        await until(lambda: stream.events)
        (event,) = stream.events
        assert (event.type, json.loads(event.data)) == ("order.shipped", {"order": 7})


async def test_a_plain_publish_is_delivered(redis_url: str, prefix: str) -> None:
    """The line for redis-cli, said by the client that is at hand: no id, and not kept."""
    from redis.asyncio import Redis

    line = re.search(r"redis-cli PUBLISH sse:user:42 '(.*)'", PAGE)
    assert line is not None
    async with (
        GatewayProcess(over(redis_url, prefix), "--dev") as gateway,
        Stream(gateway.url, "user=42") as stream,
        Redis.from_url(redis_url) as redis,
    ):
        await redis.publish(f"{prefix}:user:42", line[1])
        await until(lambda: stream.events)
        assert stream.events[0].type == "order.shipped"
