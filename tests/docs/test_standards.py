"""docs/standards.md: its commands, run in its order as they stand, print what it says."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from servers import ROOT, GatewayProcess

PAGE = ROOT / "docs" / "standards.md"
QUICK = {"GATEWAY_HEARTBEAT_INTERVAL": "1"}
WITHIN = 30.0


class Step(NamedTuple):
    """A command, and what it prints; `…` stands for anything."""

    command: str
    prints: list[str]


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """The language and the content of each."""
    yield from re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL)


def steps(block: str) -> Iterator[Step]:
    """A comment before the first command of all is for people; after one it is what the command prints."""
    found: list[Step] = []
    lines = iter(block.replace("\\\n", " ").splitlines())
    for line in lines:
        if not line.startswith("#"):
            found.append(Step(line, []))
        elif found and not re.fullmatch(r"# (binary|structured|batch): .*", line):
            found[-1].prints.append(line[2:])
    yield from found


def printed(step: Step, out: str) -> None:
    """Each line that it is said to print is there, in order."""
    at = 0
    for line in step.prints:
        pattern = ".*?".join(re.escape(part) for part in line.split("…"))
        match = re.compile(pattern).search(out, at)
        assert match is not None, f"{step.command}\nprinted {out[at:]!r}\nand not {line}"
        at = match.end()


async def run(command: str, folder: Path, port: int) -> str:
    """What it prints on a gateway of this port, whatever its status: `curl -m` ends with one of its own."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    process = await asyncio.create_subprocess_exec(
        *("bash", "-uc", command.replace("localhost:8080", f"127.0.0.1:{port}")),
        cwd=folder,
        env=os.environ | {"PATH": path},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(WITHIN):
        out, _ = await process.communicate()
    return out.decode()


async def write(language: str, content: str, folder: Path, port: int) -> None:
    """A file of the page: its name is in its first line."""
    name = re.match(r"# (\S+)\n", content)
    assert name is not None, f"a block of {language} without the name of its file"
    (folder / name[1]).write_text(content.replace("localhost:8080", f"127.0.0.1:{port}"))


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_its_commands_do_what_it_says(tmp_path: Path) -> None:
    """A gateway at the beginning, another one where the page starts one, files where it has files."""
    async with AsyncExitStack() as gateways:
        gateway = await gateways.enter_async_context(GatewayProcess(QUICK, "--dev"))
        done = 0
        for language, content in blocks(PAGE.read_text()):
            if language != "sh":
                await write(language, content, tmp_path, gateway.port)
                continue
            for step in steps(content):
                if step.command.startswith("gateway serve "):
                    settings = QUICK | {"GATEWAY_EVENT_CATALOGUE": str(tmp_path / "events.yaml")}
                    assert step.command.endswith(" --dev --set event_catalogue=events.yaml")
                    gateway = await gateways.enter_async_context(GatewayProcess(settings, "--dev"))
                    continue
                assert step.prints, f"nothing is said of what this prints: {step.command}"
                printed(step, await run(step.command, tmp_path, gateway.port))
                done += 1
        assert done >= 18
