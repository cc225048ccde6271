"""Centrifugo: its own server at a pinned version, one node, the unidirectional SSE transport."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import BUILD, Target, free_port, process, wait_until_up

from .common import HERE, go_build, module_folder, one_core, write_tokens

VERSION = "5.4.9"
MODULE = "github.com/centrifugal/centrifugo/v5"
BINARY = BUILD / f"centrifugo-{VERSION}"
CHANNEL = "bench"
CONNECT = "%7B%22token%22%3A%22%t%22%7D"  # {"token":"%t"}


def build() -> None:
    if not BINARY.exists():
        folder = module_folder(f"{MODULE}@v{VERSION}")
        go_build(folder, BINARY, "-ldflags", f"-X {MODULE}/internal/build.Version={VERSION}")


@contextmanager
def run(connections: int, apart: bool = False) -> Iterator[Target]:
    """The settings are in `centrifugo.json`; a token names the channel that it subscribes to."""
    channel = "user-%d" if apart else CHANNEL
    port, log = free_port(), BUILD / "centrifugo.log"
    secret, key = secrets.token_hex(32), secrets.token_hex(16)
    env = one_core(CENTRIFUGO_TOKEN_HMAC_SECRET_KEY=secret, CENTRIFUGO_API_KEY=key)
    command = [str(BINARY), "--config", str(HERE / "centrifugo.json"), "--address", "127.0.0.1", "--port", str(port)]
    with tempfile.TemporaryDirectory() as folder, process(command, env, log) as pid:
        tokens = Path(folder) / "tokens"
        write_tokens(tokens, {"channels": [channel]}, secret, connections)
        wait_until_up(pid, port, "/health", log)
        arguments = (
            *("--path", f"/connection/uni_sse?cf_connect={CONNECT}", "--tokens", str(tokens), "--ready", "event"),
            *("--publish-path", "/api/publish", "--publish-header", f"X-API-Key: {key}"),
            *("--publish-body", f'{{"channel":"{channel}","data":%e}}'),
        )
        yield Target("centrifugo", port, pid, arguments)
