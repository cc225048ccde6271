"""The shipped nginx files as files: valid in each variant, without known traps, and complete."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from nginx import SHIPPED, NginxServer, needs_nginx
from servers import free_port, until
from streams import Stream
from web.inprocess import served

from gateway.config import Settings

VARIANTS = [(), ("tls",), ("auth_request",), ("tls", "auth_request")]
APPLICATION = {"app.internal:8000": "127.0.0.1:8000"}


@needs_nginx
@pytest.mark.parametrize("overlays", VARIANTS, ids=lambda overlays: "+".join(overlays) or "plain")
def test_every_variant_is_valid(overlays: tuple[str, ...]) -> None:
    """nginx -t accepts it, without a warning."""
    replace = APPLICATION if "auth_request" in overlays else None
    status, said = NginxServer(free_port(), free_port(), overlays=overlays, replace=replace).check()
    assert status == 0, said
    newer = 'the "listen ... http2" directive is deprecated'  # tls/listen.conf says what to write instead
    assert [line for line in said.splitlines() if "[warn]" in line and newer not in line] == []


@needs_nginx
async def test_the_whole_nginx_conf_serves_streams() -> None:
    """The main file for a host of its own. Its log is without queries, where tickets are."""
    async with served() as gateway, NginxServer(gateway.port, main=(SHIPPED / "nginx.conf").read_text()) as nginx:
        async with Stream(nginx.url, "user=alice&types=number") as stream:
            await gateway.publish("alice", "number", 1)
            assert (await stream.next(within=2)).data == "1"
        async with Stream(nginx.url, "user=alice"):
            (line,) = await until(lambda: nginx.requests, what="the first stream is in the access log")
            assert " GET /v1/events 200 " in line
            assert "number" not in line


@pytest.mark.parametrize("overlays", VARIANTS, ids=lambda overlays: "+".join(overlays) or "plain")
def test_no_known_trap_is_in_it(overlays: tuple[str, ...], tmp_path: Path) -> None:
    """gixy, which knows of spoofed hosts, split responses and headers that get lost, finds nothing."""
    gixy = Path(sys.executable).with_name("gixy")
    if not gixy.exists():
        pytest.skip("there is no gixy; make .venv/test installs it")
    shutil.copytree(SHIPPED, tmp_path, dirs_exist_ok=True)
    for overlay in overlays:
        shutil.copytree(SHIPPED / overlay, tmp_path / "gateway", dirs_exist_ok=True)
    for path in tmp_path.rglob("*.conf"):  # it takes an include for relative to the including file
        text = path.read_text().replace("include conf.d/", f"include {tmp_path}/")
        path.write_text(text.replace("include gateway/", f"include {tmp_path}/gateway/"))
    done = subprocess.run(
        [gixy, "--format", "json", tmp_path / "nginx.conf"], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert json.loads(done.stdout) == [], done.stderr


def test_nginx_waits_longer_than_the_gateway_is_silent() -> None:
    """With room for two heartbeats that are late, and for the longest poll: or a quiet client would be cut."""
    seconds = re.search(r"^ *proxy_read_timeout (\d+)s;$", (SHIPPED / "gateway.conf").read_text(), re.MULTILINE)
    assert seconds is not None
    defaults = Settings(dev=True)
    assert float(seconds[1]) >= max(3 * defaults.heartbeat_interval, defaults.max_poll_seconds + 5)
