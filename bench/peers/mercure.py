"""Mercure: the hub of its Go module, at a pinned version, in the server of `hub/`.

Its history is a Bolt file. The file is put on a memory file system where there is one,
since the gateway's memory broker does not wait for a disk either.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import BUILD, Target, free_port, process, wait_until_up

from .common import HERE, go_build, make_token, one_core, write_tokens

SOURCES = HERE / "hub"
BINARY = BUILD / "mercure-hub"
TOPIC = "bench"
HUB = "/.well-known/mercure"


def build() -> None:
    newest = max(path.stat().st_mtime for path in SOURCES.iterdir())
    if not BINARY.exists() or BINARY.stat().st_mtime < newest:
        go_build(SOURCES, BINARY)


@contextmanager
def run(connections: int, apart: bool = False) -> Iterator[Target]:
    """A topic with a history; the tokens allow to subscribe to it, or to every one."""
    topic, subscribe = ("user-%d", ["*"]) if apart else (TOPIC, [TOPIC])
    port, log, key = free_port(), BUILD / "mercure.log", secrets.token_hex(32)
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        tokens = Path(folder) / "tokens"
        write_tokens(tokens, {"mercure": {"subscribe": subscribe}}, key, connections)
        env = one_core(HUB_ADDRESS=f"127.0.0.1:{port}", HUB_KEY=key, HUB_HISTORY=f"{folder}/history.db")
        publisher = make_token({"mercure": {"publish": ["*"]}}, key)
        with process([str(BINARY)], env, log) as pid:
            wait_until_up(pid, port, "", log)
            arguments = (
                *("--path", f"{HUB}?topic={topic}", "--tokens", str(tokens), "--ready", "head"),
                *("--publish-path", HUB, "--publish-header", f"Authorization: Bearer {publisher}"),
                *("--publish-type", "application/x-www-form-urlencoded"),
                *("--publish-body", f"topic={topic}&type=bench&data=%u"),
            )
            yield Target("mercure", port, pid, arguments)
