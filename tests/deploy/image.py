"""What `docker build` and `docker run` do with deploy/docker/Dockerfile, where there is no docker.

Each stage is an overlay over this machine's root, which stands in for the base image with its Python; the Dockerfile's
RUN lines run in it as they are. The container has its own process ids, the last stage for a root that is read-only,
the image's user, command and environment, no capabilities, and no way to any. Needs root.

Not the same as in docker: the base image, the network (this machine's), labels and layers.
"""

from __future__ import annotations

import asyncio
import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from servers import ROOT, until

PYTHONS = Path(sys.base_prefix, "bin")
DOCKERFILE = ROOT / "deploy" / "docker" / "Dockerfile"


def instructions(text: str) -> list[tuple[str, str]]:
    """`[("FROM", "python:3.11 AS build"), …]`, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)
    lines = re.sub(r"\\\n", " ", text).splitlines()
    split = (line.strip().partition(" ") for line in lines if line.strip())
    return [(word.upper(), rest.strip()) for word, _, rest in split]


def can_be_built() -> bool:
    """Whether this user may mount an overlay over the root here; tries it."""
    if os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("setpriv") is None:
        return False
    with tempfile.TemporaryDirectory(prefix="test-image-") as directory:
        return subprocess.run(_Stage(Path(directory)).command("true"), capture_output=True).returncode == 0


class _Stage:
    """A root of its own, under `directory`; `command` is run in it by /bin/sh."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "root"
        self.upper = directory / "upper"
        for path in (self.root, self.upper, directory / "work"):
            path.mkdir(parents=True)
        layers = f"lowerdir=/,upperdir={self.upper},workdir={directory / 'work'}"
        self._mount = f"mount -t overlay overlay -o {layers} {self.root}"

    def command(self, run: str, *, besides: str = "", namespaces: Sequence[str] = ()) -> list[str]:
        """`besides` is done before, still outside, with $ROOT as the stage's root."""
        chrooted = f"exec chroot {self.root} {run}"
        script = " && ".join(filter(None, (self._mount, f"ROOT={self.root}", besides, chrooted)))
        return ["unshare", "--mount", *namespaces, "sh", "-c", script]


class Image:
    """`image = Image(directory)`, `image.build()`, and `async with image.container(environment) as container:`"""

    def __init__(self, directory: Path) -> None:
        self.env: dict[str, str] = {"PATH": f"{PYTHONS}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        self.user = "0"
        self.entrypoint: list[str] = []
        self.command: list[str] = []
        self.health: list[str] = []
        self._directory = directory
        self._stages: dict[str, _Stage] = {}
        self._workdir = "/"

    @property
    def stage(self) -> _Stage:
        """The latest."""
        return list(self._stages.values())[-1]

    def build(self) -> None:
        for word, rest in instructions(DOCKERFILE.read_text()):
            match word:
                case "FROM":
                    name = rest.partition(" AS ")[2] or "last"
                    self._stages[name] = _Stage(self._directory / name)
                    self._workdir = "/"
                    self._base_image()
                case "WORKDIR":
                    self._workdir = rest
                    (self.stage.upper / rest.lstrip("/")).mkdir(parents=True)
                case "COPY":
                    self._copy(rest)
                case "RUN":
                    self._run(rest)
                case "ENV":
                    for pair in shlex.split(rest):
                        key, _, value = pair.partition("=")
                        self.env[key] = value.replace("$PATH", self.env["PATH"])
                case "USER":
                    self.user = rest
                case "ENTRYPOINT":
                    self.entrypoint = json.loads(rest)
                case "CMD":
                    self.command = json.loads(rest)
                case "HEALTHCHECK":
                    self.health = json.loads(rest.partition("CMD ")[2])

    def _base_image(self) -> None:
        """This machine's Python, as `python` and where any user can reach it."""
        python = PYTHONS / "python"
        if not python.exists():
            link = self.stage.upper / str(python).lstrip("/")
            link.parent.mkdir(parents=True)
            link.symlink_to("python3")
        if python.is_relative_to("/root"):
            (self.stage.upper / "root").mkdir(mode=0o755, exist_ok=True)

    def _copy(self, rest: str) -> None:
        *sources, target = rest.split()
        into = self.stage.upper / os.path.join(self._workdir, target).lstrip("/")
        if sources[0].startswith("--from="):
            (source,) = sources[1:]
            shutil.copytree(self._stages[sources[0][7:]].upper / source.lstrip("/"), into, symlinks=True)
            return
        for source in sources:
            here = ROOT / source
            assert not ignored(source), f".dockerignore keeps {source} out of the build"
            if here.is_dir():
                shutil.copytree(here, into, ignore=lambda _, names: [n for n in names if ignored(f"x/{n}", deep=True)])
            else:
                into.mkdir(parents=True, exist_ok=True)
                shutil.copy(here, into)

    def _run(self, line: str) -> None:
        script = f"cd {self._workdir} && {line}"
        done = subprocess.run(
            self.stage.command(f"/bin/sh -c {shlex.quote(script)}"),
            env=self.env | _package_index(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=280,
        )
        assert done.returncode == 0, f"RUN {line}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"

    def container(self, environment: Mapping[str, str], *, mount: Mapping[Path, str] | None = None) -> Container:
        """`mount`: files of this machine by where they shall be, read-only."""
        return Container(self, environment, dict(mount or {}))


class Container:
    """`docker run --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges`."""

    def __init__(self, image: Image, environment: Mapping[str, str], mount: Mapping[Path, str]) -> None:
        self._image = image
        self._env = image.env | dict(environment)
        self._mount = mount
        self._process: asyncio.subprocess.Process | None = None
        self._log = image._directory / "log"

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def pid(self) -> int:
        """Of the container's process 1, as seen from outside."""
        assert self._process is not None
        return int(Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()[0])

    def status(self, field: str) -> str:
        """A line of its /proc/<pid>/status: `Uid`, `CapEff`, `NoNewPrivs`."""
        lines = dict(line.split(":\t", 1) for line in Path(f"/proc/{self.pid}/status").read_text().splitlines())
        return lines[field].strip()

    async def execute(self, *command: str) -> tuple[int, str]:
        """`docker exec`: the exit status, and what it printed."""
        within = ("nsenter", "--target", str(self.pid), "--mount", "--pid", "--root", "--wd=/")
        process = await asyncio.create_subprocess_exec(
            *within, *self._as_user, *command, env=self._env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        out, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode()

    async def wait(self) -> int:
        assert self._process is not None
        async with asyncio.timeout(30):
            return await self._process.wait()

    @property
    def _as_user(self) -> tuple[str, ...]:
        user, _, group = self._image.user.partition(":")
        dropped = ("--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all")
        return ("setpriv", f"--reuid={user}", f"--regid={group or user}", *dropped)

    async def __aenter__(self) -> Self:
        files = [f"mkdir -p $ROOT{os.path.dirname(at)} && touch $ROOT{at}" for at in self._mount.values()]
        mounts = [f"mount --bind -o ro {shlex.quote(str(file))} $ROOT{at}" for file, at in self._mount.items()]
        kernel = ["mount -t proc proc $ROOT/proc", "mount --rbind /dev $ROOT/dev"]
        besides = [*files, "mount -o remount,ro $ROOT", *mounts, *kernel, "mount -t tmpfs -o mode=1777 tmp $ROOT/tmp"]
        command = shlex.join([*self._as_user, *self._image.entrypoint, *self._image.command])
        namespaces = ("--pid", "--fork", "--kill-child")
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._image.stage.command(command, besides=" && ".join(besides), namespaces=namespaces),
                env=self._env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        return self

    async def ready(self, *command: str) -> None:
        """Until that command in the container succeeds."""

        async def well() -> bool:
            assert self._process is not None
            assert self._process.returncode is None, self.log
            return self._has_its_root() and (await self.execute(*command))[0] == 0

        await until(well, within=20, what=f"{command} succeeds in the container")

    def _has_its_root(self) -> bool:
        try:
            return Path(f"/proc/{self.pid}/root/proc/1").exists()
        except IndexError:  # there is no process in it yet
            return False

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


def ignored(path: str, *, deep: bool = False) -> bool:
    """By .dockerignore: the last line that matches decides. Of what lies deeper only `**/` lines speak here."""
    out = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.strip().lstrip("!")
        if not pattern or pattern.startswith("#") or (deep and not pattern.startswith("**/")):
            continue
        if fnmatch.fnmatch(path, pattern.replace("**/", "*/") if deep else pattern):
            out = not line.startswith("!")
    return out


def _package_index() -> dict[str, str]:
    """Where this machine's pip has its packages from."""
    names = ("PIP_INDEX_URL", "PIP_CONFIG_FILE", "PIP_CERT", "SSL_CERT_FILE", "HTTPS_PROXY", "https_proxy", "no_proxy")
    return {name: os.environ[name] for name in names if name in os.environ}
