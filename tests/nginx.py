"""The real nginx with the shipped deploy/nginx/gateway.conf, on loopback, ended by its own pid.

Of the shipped files only addresses are changed: the listening one, and those of the gateways, each in its `server`
line with its parameters. Around them stands a main nginx.conf that is as unkind as an operator's may be: gzip and
caching are on for all sites.
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

SHIPPED = ROOT / "deploy" / "nginx"
NGINX = os.environ.get("TEST_NGINX") or shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
"""Debian keeps it out of the users' PATH."""

needs_nginx = pytest.mark.skipif(
    NGINX is None and not os.environ.get("REQUIRE_SYSTEM_PACKAGES"),
    reason="there is no nginx (TEST_NGINX names one; REQUIRE_SYSTEM_PACKAGES=1 makes this a failure)",
)

_MAIN = """
{user}
daemon off;
worker_processes {workers};
pid {directory}/pid;
error_log {directory}/log notice;
events {{ worker_connections {connections}; }}
http {{
    access_log {directory}/access;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    proxy_cache_path {directory}/cache keys_zone=all:1m;
    proxy_cache all;
    proxy_cache_valid any 1m;
    gzip on;
    gzip_min_length 0;
    gzip_proxied any;
    gzip_types *;
    include gateway.conf;
}}
"""


class NginxServer:
    """`async with NginxServer(one.port, two.port) as nginx:` — `nginx.url` is what the outside sees.

    gateways     ports for the shipped `server` lines, in order; a line that is left over points where nobody listens
    locations    what else the site serves, as in gateway/locations/
    replace      text of gateway.conf that shall read differently; it must be there
    connections  worker_connections
    """

    def __init__(
        self,
        *gateways: int,
        locations: str = "",
        replace: Mapping[str, str] | None = None,
        workers: int = 2,
        connections: int = 1024,
    ) -> None:
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self._workers = workers
        self._directory = Path(tempfile.mkdtemp(prefix="test-nginx-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._write(gateways, locations, replace or {}, connections)

    @property
    def log(self) -> str:
        return self._read("log")

    @property
    def requests(self) -> list[str]:
        """The access log: a line for each request that has ended."""
        return self._read("access").splitlines()

    def check(self) -> tuple[int, str]:
        """`nginx -t`: its exit status, and what it said."""
        done = subprocess.run([*self._command, "-t"], stdin=subprocess.DEVNULL, capture_output=True, timeout=20)
        return done.returncode, (done.stdout + done.stderr).decode(errors="replace")

    async def start(self) -> None:
        """Returns when it listens."""
        self._spawn()
        await until(self._listens, within=STARTS_WITHIN, what=f"nginx listens on port {self.port}")

    async def reload(self) -> None:
        """`nginx -s reload`; returns when new workers serve, while the old ones end their streams."""
        before = self._workers_started()
        command = await asyncio.create_subprocess_exec(*self._command, "-s", "reload", stdin=subprocess.DEVNULL)
        assert await command.wait() == 0, self.log
        await until(lambda: self._workers_started() >= before + self._workers, what="new workers have started")

    async def stop(self) -> None:
        """SIGTERM: the master takes its workers along, streams are cut."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.terminate()
        await until(lambda: process.poll() is not None, what="nginx ends")

    @property
    def _command(self) -> list[str]:
        assert NGINX is not None, "there is no nginx"
        return [NGINX, "-p", f"{self._directory}/", "-c", "nginx.conf", "-e", f"{self._directory}/log"]

    def _spawn(self) -> None:
        assert self._process is None, "nginx is running"
        with (self._directory / "stderr").open("ab") as stderr:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr
            )

    def _listens(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"nginx ended with {self._process.returncode}:\n{self._read('stderr')}{self.log}")
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self.port)) == 0

    def _workers_started(self) -> int:
        return len(re.findall(r"start worker process \d", self.log))

    def _read(self, name: str) -> str:
        path = self._directory / name
        return path.read_text(errors="replace") if path.exists() else ""

    def _write(self, gateways: tuple[int, ...], locations: str, replace: Mapping[str, str], connections: int) -> None:
        main = _MAIN.format(
            # Workers of a root's nginx become nobody, and may not look into the directory.
            user="user root;" if os.geteuid() == 0 else "",
            directory=self._directory,
            workers=self._workers,
            connections=connections,
        )
        site = (SHIPPED / "gateway.conf").read_text()
        for text, other in replace.items():
            assert text in site, f"gateway.conf does not say {text!r}"
            site = site.replace(text, other)
        files = {
            "nginx.conf": main,
            "gateway.conf": site,
            "gateway/servers.conf": _at((SHIPPED / "gateway/servers.conf").read_text(), gateways),
            "gateway/listen.conf": f"listen {HOST}:{self.port};",
            "gateway/locations/test.conf": locations,
        }
        for name, text in files.items():
            path = self._directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(f"log of nginx at {self.url}:\n{self.log[-4000:]}")
        await self._end()

    async def _end(self) -> None:
        await self.stop()
        shutil.rmtree(self._directory, ignore_errors=True)


def _at(servers: str, ports: tuple[int, ...]) -> str:
    """The shipped `server` lines with these ports instead of their own."""
    lines = re.findall(r"^server \S+(.*;)$", servers, re.MULTILINE)
    assert 0 < len(ports) <= len(lines), f"{len(ports)} gateways for {len(lines)} server lines"
    filled = [*ports, *(free_port() for _ in range(len(lines) - len(ports)))]
    return "\n".join(f"server {HOST}:{port}{rest}" for port, rest in zip(filled, lines, strict=True))
