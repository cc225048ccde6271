"""nchan: nginx and the module, both of the same Debian release.

The packages are unpacked under `bench/build/`, not installed: no root, and the module
fits its nginx. A pair that is installed already is taken if it fits.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import BUILD, START_SECONDS, BenchError, Target, free_port, process, wait_until_up

from .common import HERE, HISTORY, Missing, call, say, tool

FOLDER = BUILD / "nchan"
MODULE = Path("usr/lib/nginx/modules/ngx_nchan_module.so")
PACKAGES = ("nginx", "libnginx-mod-nchan")


def write_config(folder: Path, module: Path, port: int) -> Path:
    text = (HERE / "nchan.conf").read_text()
    for name, value in (("MODULE", module), ("PORT", port), ("HISTORY", HISTORY), ("FOLDER", folder)):
        text = text.replace(f"@{name}@", str(value))
    path = folder / "nginx.conf"
    path.write_text(text)
    return path


def fits(nginx: Path, module: Path) -> bool:
    """Whether this nginx loads this module and understands the configuration."""
    if not nginx.exists() or not module.exists():
        return False
    with tempfile.TemporaryDirectory() as folder:
        config = write_config(Path(folder), module, free_port())
        command = [str(nginx), "-t", "-p", folder, "-c", str(config)]
        return subprocess.run(command, capture_output=True, check=False, timeout=20).returncode == 0


def find() -> tuple[Path, Path] | None:
    installed = (Path(shutil.which("nginx") or "/usr/sbin/nginx"), Path("/") / MODULE)
    unpacked = (FOLDER / "usr/sbin/nginx", FOLDER / MODULE)
    return next((pair for pair in (installed, unpacked) if fits(*pair)), None)


def build() -> None:
    if find():
        return
    download, unpack = [tool("apt-get"), "download", *PACKAGES], [tool("dpkg-deb"), "-x"]
    FOLDER.mkdir(parents=True, exist_ok=True)
    say(f"apt-get download {' '.join(PACKAGES)}")
    call(download, FOLDER)
    for package in sorted(FOLDER.glob("*.deb")):
        call([*unpack, str(package), str(FOLDER)], FOLDER)
    if not find():
        raise Missing("the package was fetched, but its nginx does not run here")


def worker_of(master: int) -> int:
    """The pid of the one worker: it is what uses the CPU."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        if children:
            return int(children[0])
        time.sleep(0.02)
    raise BenchError("nginx has no worker")


@contextmanager
def run(connections: int, apart: bool = False) -> Iterator[Target]:
    """One worker; a channel with a history."""
    pair = find()
    if pair is None:
        raise BenchError("nchan was not built")
    nginx, module = pair
    port, log, channel = free_port(), BUILD / "nchan.log", "user-%d" if apart else "bench"
    with tempfile.TemporaryDirectory() as folder:
        config = write_config(Path(folder), module, port)
        with process([str(nginx), "-p", folder, "-c", str(config)], dict(os.environ), log) as master:
            wait_until_up(master, port, "/up", log)
            arguments = (
                *("--path", f"/sub?id={channel}", "--publish-path", f"/pub?id={channel}", "--publish-body", "%e"),
                *("--publish-header", "X-EventSource-Event: bench"),
            )
            yield Target("nchan", port, worker_of(master), arguments)
