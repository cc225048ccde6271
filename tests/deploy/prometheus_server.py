"""A real Prometheus over the shipped deploy/prometheus, on loopback, ended by its own pid; and its promtool.

Of prometheus.yml only the targets and the intervals are changed.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import pytest
from servers import HOST, ROOT, STARTS_WITHIN, free_port, until

SHIPPED = ROOT / "deploy" / "prometheus"
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboard.json"
PROMTOOL, PROMETHEUS = shutil.which("promtool"), shutil.which("prometheus")
_REQUIRED = bool(os.environ.get("REQUIRE_SYSTEM_PACKAGES"))

needs_promtool = pytest.mark.skipif(
    PROMTOOL is None and not _REQUIRED, reason="there is no promtool (Debian: prometheus)"
)
needs_prometheus = pytest.mark.skipif(PROMETHEUS is None and not _REQUIRED, reason="there is no prometheus")

SERIES = re.compile(r"\b((?:gateway|process)_[a-z_]+)\b")
LABELS = re.compile(r"{([^}]*)}")
MATCHER = re.compile(r'(\w+)(=~|!=|=)"([^"]*)"')


def promtool(*words: str) -> str:
    """What it says. Fails, with that, when it does not like something."""
    assert PROMTOOL is not None, "there is no promtool"
    done = subprocess.run([PROMTOOL, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def selectors(query: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Each series that a query names, with the labels that it asks to be equal to something."""
    for match in SERIES.finditer(query):
        selector = LABELS.match(query, match.end())
        matchers = MATCHER.findall(selector[1]) if selector else []
        yield match[1], {name: value for name, operator, value in matchers if operator == "="}


class PrometheusServer:
    """`async with PrometheusServer(gateway.port) as prometheus:` — it scrapes that gateway and evaluates the alerts."""

    def __init__(self, *gateways: int, every: str = "1s") -> None:
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self._directory = Path(tempfile.mkdtemp(prefix="test-prometheus-"))
        self._process: subprocess.Popen[bytes] | None = None
        targets = "".join(f"          - {HOST}:{port}\n" for port in gateways)
        config = (SHIPPED / "prometheus.yml").read_text()
        config, changed = re.subn(r"(?m)(?<=- targets:\n)( +- .*\n)+", targets, config)
        assert changed == 1, "prometheus.yml has no list of targets"
        (self._directory / "prometheus.yml").write_text(config.replace("_interval: 15s", f"_interval: {every}"))
        shutil.copy(SHIPPED / "rules.yml", self._directory)

    @property
    def log(self) -> str:
        path = self._directory / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """What it evaluates to now: `metric` and `value` of each series."""
        answer = await self._get("/api/v1/query", query=expression)
        assert answer["status"] == "success", f"{expression}: {answer}"
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    async def alerts(self) -> dict[str, str]:
        """The state of each alert: inactive, pending or firing. Those that cannot be evaluated are a failure."""
        answer = await self._get("/api/v1/rules")
        rules = [rule for group in answer["data"]["groups"] for rule in group["rules"]]
        assert not [rule for rule in rules if rule["health"] == "err"], rules
        return {rule["name"]: rule["state"] for rule in rules if rule["health"] == "ok"}

    async def _get(self, path: str, **query: str) -> dict[str, Any]:
        async with aiohttp.ClientSession() as http, http.get(self.url + path, params=query) as response:
            answer: dict[str, Any] = await response.json()
            return answer

    async def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log
        try:
            async with aiohttp.ClientSession() as http, http.get(self.url + "/-/ready") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False

    def _spawn(self, *words: str) -> None:
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                words, cwd=self._directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    async def __aenter__(self) -> Self:
        assert PROMETHEUS is not None, "there is no prometheus"
        words = [f"--config.file={self._directory}/prometheus.yml", f"--storage.tsdb.path={self._directory}/data"]
        words.append(f"--web.listen-address={HOST}:{self.port}")
        self._spawn(PROMETHEUS, *words)
        try:
            await until(self._answers, within=STARTS_WITHIN, what="prometheus is ready")
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(f"log of prometheus at {self.url}:\n{self.log[-4000:]}")
        await self._end()

    async def _end(self) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            await asyncio.to_thread(self._process.wait, 10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)
