"""The real nginx with the shipped deploy/nginx/gateway.conf, on loopback, ended by its own pid.

Of the shipped files only addresses are changed: the listening one, and those of the gateways, each in a `server` line
with the shipped parameters. Around them stands a main nginx.conf that is as unkind as an operator's may be: gzip and
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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from certificates import Authority
from servers import HOST, ROOT, STARTS_WITHIN, free_port, until

SHIPPED = ROOT / "deploy" / "nginx"
NGINX = os.environ.get("TEST_NGINX") or shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
"""Debian keeps it out of the users' PATH."""

needs_nginx = pytest.mark.skipif(
    NGINX is None and not os.environ.get("REQUIRE_SYSTEM_PACKAGES"),
    reason="there is no nginx (TEST_NGINX names one; REQUIRE_SYSTEM_PACKAGES=1 makes this a failure)",
)

UNCOUNTED = {"# 203.0.113.0/24            1;": "127.0.0.0/8 1;"}

_UNKIND = """
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

    gateways     their ports; shipped `server` lines that are left over point where nobody listens
    main         text of the main nginx.conf, if it shall be another one; it writes to /tmp/ and its output only
    overlays     folders, by their path from deploy/nginx, that are laid over gateway/; with `tls` goes a certificate
    locations    what else the site serves, as in gateway/locations/
    replace      text of the shipped files that shall read differently; it must be there
    counted      whether this machine's address has the shipped limits of a client address
    connections  worker_connections
    """

    def __init__(
        self,
        *gateways: int,
        main: str = "",
        overlays: Sequence[str] = (),
        locations: str = "",
        replace: Mapping[str, str] | None = None,
        counted: bool = True,
        workers: int = 2,
        connections: int = 1024,
    ) -> None:
        self.port = free_port()
        self.url = f"{'https' if 'tls' in overlays else 'http'}://{HOST}:{self.port}"
        self._workers = workers
        self._directory = Path(tempfile.mkdtemp(prefix="test-nginx-"))
        self._process: subprocess.Popen[bytes] | None = None
        unkind = _UNKIND.format(directory=self._directory, workers=workers, connections=connections)
        self._add("nginx.conf", self._written_here(main) if main else unkind)
        self._add("gateway.conf", (SHIPPED / "gateway.conf").read_text())
        for layer in ("gateway", *overlays):
            shutil.copytree(SHIPPED / layer, self._directory / "gateway", dirs_exist_ok=True)
        self._edit("gateway/servers.conf", lambda text: _at(text, gateways))
        self._edit("gateway/listen.conf", self._on_loopback)
        self._add("gateway/locations/test.conf", locations)
        for text, other in (dict(replace or {}) | ({} if counted else UNCOUNTED)).items():
            self._replace(text, other)

    @property
    def certificate(self) -> Path:
        """With the overlay `tls`: of the authority to believe in."""
        return self._directory / "test-CA.pem"

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
        # Workers of a root's nginx become nobody, and may not look into the directory.
        directives = "daemon off;" + (" user root;" if os.geteuid() == 0 else "")
        return [
            NGINX,
            "-p",
            f"{self._directory}/",
            "-c",
            "nginx.conf",
            "-e",
            f"{self._directory}/log",
            "-g",
            directives,
        ]

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

    def _written_here(self, main: str) -> str:
        for path, other in (("/tmp/", ""), ("/dev/stderr", "log"), ("/dev/stdout", "access"), ("conf.d/", "")):
            main = main.replace(path, f"{self._directory}/{other}")
        return main

    def _on_loopback(self, listen: str) -> str:
        """The shipped site at our port, with a certificate of our own if it asks for one."""
        if "ssl_certificate" in listen:
            certificate(self._directory)
        listen = re.sub(r"^listen \d+", f"listen {HOST}:{self.port}", listen, flags=re.MULTILINE)
        return listen.replace("/etc/nginx/tls/", f"{self._directory}/")

    def _replace(self, text: str, other: str) -> None:
        holding = [path for path in self._directory.rglob("*.conf") if text in path.read_text()]
        assert holding, f"the shipped files do not say {text!r}"
        for path in holding:
            path.write_text(path.read_text().replace(text, other))

    def _edit(self, name: str, change: Callable[[str], str]) -> None:
        self._add(name, change((self._directory / name).read_text()))

    def _add(self, name: str, text: str) -> None:
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


def certificate(directory: Path) -> None:
    """fullchain.pem and privkey.pem of this machine, of an authority that nobody knows."""
    issued = Authority(directory).issue("localhost")
    for name in ("fullchain.pem", "privkey.pem"):
        shutil.copy(issued, directory / name)


def version() -> tuple[int, ...]:
    """Of the nginx that is here."""
    assert NGINX is not None
    said = subprocess.run([NGINX, "-v"], capture_output=True, text=True).stderr
    return tuple(map(int, said.rpartition("/")[2].split()[0].split(".")))


def _at(servers: str, ports: tuple[int, ...]) -> str:
    """The shipped file with these ports in its `server` lines; more of the last line, if there are more ports."""
    left = list(ports)
    line = re.compile(r"^server [\w.-]+:\d+(.*;)$", re.MULTILINE)
    filled = line.sub(lambda found: f"server {HOST}:{left.pop(0) if left else free_port()}{found[1]}", servers)
    rest = line.findall(servers)[-1]
    return filled + "".join(f"server {HOST}:{port}{rest}\n" for port in left)
