"""What the peers share: running their builders, tokens, their environment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness import BenchError

HERE = Path(__file__).resolve().parent
BUILD_SECONDS = 900.0
HISTORY = 1000  # events, the gateway's default
GO = {"GOWORK": "off", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}


class Missing(BenchError):
    """The machine cannot have this peer; the message says why, on one line."""


def say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise Missing(f"there is no {name} here")
    return path


def call(command: list[str], folder: Path, env: Mapping[str, str] | None = None) -> str:
    """Run a builder's command; its output, or `Missing` with its last line."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=BUILD_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise Missing(f"{command[0]} did not end in {BUILD_SECONDS:.0f} s") from None
    if done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()
        raise Missing(f"{Path(command[0]).name} {command[1]}: {lines[-1].strip()}")
    return done.stdout


def module_folder(module: str) -> Path:
    """Where the Go toolchain keeps `path@version`, downloaded if need be."""
    go = tool("go")
    say(f"go mod download {module}")
    call([go, "mod", "download", module], HERE, GO)
    return Path(call([go, "list", "-m", "-f", "{{.Dir}}", module], HERE, GO).strip())


def go_build(folder: Path, binary: Path, *flags: str) -> None:
    """Compile the main package in `folder` with the versions that its own go.sum pins."""
    command = [tool("go"), "build", "-trimpath", "-buildvcs=false", *flags, "-o", str(binary), "."]
    say(f"go build of {binary.name}: a minute or two the first time")
    call(command, folder, GO)


def one_core(**settings: str) -> dict[str, str]:
    """The environment of a Go server that is to use one core, as the gateway does."""
    return {**os.environ, "GOMAXPROCS": "1", **settings}


def make_token(claims: Mapping[str, Any], key: str) -> str:
    import jwt  # here, so that nchan alone can be measured without it

    return jwt.encode({**claims, "exp": int(time.time()) + 3600}, key, algorithm="HS256")


def write_tokens(path: Path, claims: Mapping[str, Any], key: str, count: int) -> None:
    """One token per line, for `user-0` .. `user-<count-1>`; a `%d` in the claims is that number."""
    template = json.dumps(claims)
    own = ({"sub": f"user-{i}", **json.loads(template.replace("%d", str(i)))} for i in range(count))
    path.write_text("".join(make_token(claims, key) + "\n" for claims in own))
