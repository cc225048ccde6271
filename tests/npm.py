"""Programs for Node, and the packages that they use: those of `package.json` beside this, installed by npm once."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PACKAGES = HERE / "node_modules"
INSTALLS_WITHIN = 90


def need_node() -> None:
    """Skips, with a word, where there is no Node, or npm cannot install the packages."""
    if (reason := missing()) is not None:
        pytest.skip(reason)


def bin_of(package: str, program: str | None = None) -> list[str]:
    """The words that run a package's program."""
    return ["node", str(PACKAGES / ".bin" / (program or package))]


@cache
def missing() -> str | None:
    """Why no program for Node can be run here, or None."""
    npm = shutil.which("npm")
    if shutil.which("node") is None or npm is None:
        return "there is no node with npm"
    installed = PACKAGES / ".package-lock.json"
    if installed.exists() and installed.stat().st_mtime >= (HERE / "package-lock.json").stat().st_mtime:
        return None
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    try:
        done = subprocess.run(
            command, cwd=HERE, capture_output=True, text=True, timeout=INSTALLS_WITHIN, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return f"`npm ci` had no answer within {INSTALLS_WITHIN} s"
    return f"`npm ci` failed: {done.stderr.strip().splitlines()[-1:]}" if done.returncode else None


async def ran(*words: str, given: bytes = b"", within: float = 60.0, cwd: Path = HERE) -> bytes:
    """Run a program to its end, which must be a good one; what it printed."""
    process = await asyncio.create_subprocess_exec(
        *words,
        cwd=cwd,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(within):
            out, err = await process.communicate(given)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, f"{words}:\n{out.decode()}\n{err.decode()}"
    return out
