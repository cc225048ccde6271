"""The real HAProxy with the shipped deploy/haproxy/haproxy.cfg, on loopback, ended by its own pid.

Of the shipped file only addresses are changed, those of `bind` and of the `server` lines, and how often these are asked
for their health.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from servers import HOST, ROOT, STARTS_WITHIN, free_port, until

SHIPPED = ROOT / "deploy" / "haproxy"
HAPROXY = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin")
"""Debian keeps it out of the users' PATH."""

needs_haproxy = pytest.mark.skipif(
    HAPROXY is None and not os.environ.get("REQUIRE_SYSTEM_PACKAGES"),
    reason="there is no haproxy (REQUIRE_SYSTEM_PACKAGES=1 makes this a failure)",
)


class HaproxyServer:
    """`async with HaproxyServer(one.port, two.port) as haproxy:` — `haproxy.url` is what the outside sees.

    gateways     ports for the shipped `server` lines, in order; one that is left over points where nobody listens
    replace      text of haproxy.cfg that shall read differently; it must be there
    check_every  how often gateways are asked whether they are ready
    """

    def __init__(self, *gateways: int, replace: Mapping[str, str] | None = None, check_every: str = "200ms") -> None:
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self._directory = Path(tempfile.mkdtemp(prefix="test-haproxy-"))
        self._process: subprocess.Popen[bytes] | None = None
        shutil.copytree(SHIPPED, self._directory, dirs_exist_ok=True)
        text = (SHIPPED / "haproxy.cfg").read_text()
        changes = {"bind :80": f"bind {HOST}:{self.port}", "inter 2s": f"inter {check_every}"}
        changes["maxconn 100000"] = "maxconn 1000"  # there are no descriptors for more
        for old, new in (changes | dict(replace or {})).items():
            assert old in text, f"haproxy.cfg does not say {old!r}"
            text = text.replace(old, new)
        (self._directory / "haproxy.cfg").write_text(_at(text, gateways))

    @property
    def log(self) -> str:
        path = self._directory / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def check(self) -> str:
        """`haproxy -c`: what it said. It must have accepted the file."""
        done = subprocess.run([*self._command, "-c"], stdin=subprocess.DEVNULL, capture_output=True, timeout=20)
        said = (done.stdout + done.stderr).decode(errors="replace")
        assert done.returncode == 0, said
        return said

    @property
    def _command(self) -> list[str]:
        assert HAPROXY is not None, "there is no haproxy"
        return [HAPROXY, "-db", "-f", str(self._directory / "haproxy.cfg")]

    def _spawn(self) -> None:
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"haproxy ended with {self._process.returncode}:\n{self.log}"
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self.port)) == 0

    async def __aenter__(self) -> Self:
        self._spawn()
        try:
            await until(self._listens, within=STARTS_WITHIN, what=f"haproxy listens on port {self.port}")
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(f"log of haproxy at {self.url}:\n{self.log[-4000:]}")
        await self._end()

    async def _end(self) -> None:
        assert self._process is not None
        self._process.terminate()
        await asyncio.to_thread(self._process.wait, 10)
        shutil.rmtree(self._directory, ignore_errors=True)


def _at(text: str, ports: tuple[int, ...]) -> str:
    """The shipped `server` lines with these ports instead of their own, in each backend the same."""
    names = list(dict.fromkeys(re.findall(r"^ +server (\S+) \S+", text, re.MULTILINE)))
    assert 0 < len(ports) <= len(names), f"{len(ports)} gateways for {len(names)} server lines"
    filled = [*ports, *(free_port() for _ in range(len(names) - len(ports)))]
    for name, port in zip(names, filled, strict=True):
        text, changed = re.subn(rf"(?m)^( +server {name}) \S+", rf"\1 {HOST}:{port}", text)
        assert changed
    return text
