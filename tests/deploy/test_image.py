"""The container image: its Dockerfile by hadolint and by rule, and what comes of it, built and run by hand."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from deploy.image import DOCKERFILE, Image, can_be_built, ignored, instructions
from servers import HOST, RedisServer, free_port

SECRETS = "/run/secrets"

pytestmark = pytest.mark.timeout(300)  # to build takes half a minute, and several on a machine that is busy


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """Built once."""
    if not can_be_built():
        pytest.skip("no overlay can be mounted here: it needs root, unshare and setpriv")
    image = Image(tmp_path_factory.mktemp("image"))
    image.build()
    yield image


def last(word: str) -> str:
    return [rest for name, rest in instructions(DOCKERFILE.read_text()) if name == word][-1]


def test_hadolint_finds_nothing() -> None:
    """Not even a matter of style."""
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        pytest.skip("there is no hadolint for this machine")
    done = subprocess.run([hadolint, "--failure-threshold", "style", DOCKERFILE], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_it_is_what_a_cluster_asks_of_an_image() -> None:
    """A user by number and not root, commands in exec form, a signal that drains, labels of the OCI."""
    user, group = last("USER").split(":")
    assert int(user) > 0 < int(group)
    assert json.loads(last("ENTRYPOINT")) == ["gateway"]
    assert json.loads(last("CMD")) == ["serve"]
    assert last("STOPSIGNAL") == "SIGTERM"
    assert json.loads(last("HEALTHCHECK").partition("CMD ")[2]) == ["gateway", "health"]
    labels = set(re.findall(r"org\.opencontainers\.image\.(\w+)=", last("LABEL")))
    assert labels >= {"title", "description", "licenses", "version", "revision", "source"}


@pytest.mark.parametrize("path", [".git", ".venv", "tests", "deploy", "secrets.env", "constraints.txt.orig"])
def test_what_is_no_part_of_it_stays_outside(path: str) -> None:
    """The build sees what it copies, and no secret or history of whoever builds."""
    assert ignored(path)


@pytest.mark.slow
async def test_it_serves_with_nothing_but_its_settings(image: Image, tmp_path: Path) -> None:
    """As a stranger with a read-only root and no rights: two workers, secrets in files, a health check, and a drain."""
    files = {}
    for name, secret in {"jwt": "s" * 32, "keys": "billing:key:*"}.items():
        files[tmp_path / name] = f"{SECRETS}/{name}"
        (tmp_path / name).write_text(secret + "\n")
    port = free_port()
    async with RedisServer() as redis:
        environment = {
            "GATEWAY_PORT": str(port),
            "GATEWAY_WORKERS": "2",
            "GATEWAY_BROKER_URL": redis.url,
            "GATEWAY_JWT_SECRET_FILE": f"{SECRETS}/jwt",
            "GATEWAY_PUBLISH_KEYS_FILE": f"{SECRETS}/keys",
            "GATEWAY_DRAIN_SECONDS": "0",
        }
        async with image.container(environment, mount=files) as container:
            await container.ready(*image.health, "--ready")
            assert set(container.status("Uid").split()) == {"65532"} == set(container.status("Gid").split())
            assert int(container.status("CapBnd"), 16) == int(container.status("CapEff"), 16) == 0
            assert container.status("NoNewPrivs") == "1"
            assert await container.execute(*image.health) == (0, "alive\n")

            assert await publish(port) == 202
            for path in ("/opt/gateway/x", "/x", "/usr/local/bin/x"):
                status, said = await container.execute("touch", path)
                assert status == 1
                assert "Read-only file system" in said or "Permission denied" in said
            assert (await container.execute("python", "-m", "pip"))[0] != 0

            os.kill(container.pid, signal.SIGTERM)
            assert await container.wait() == 0
        assert "gateway.draining" in container.log


@pytest.mark.slow
async def test_without_settings_it_says_what_is_missing(image: Image) -> None:
    """And does not start: it never serves strangers by accident."""
    async with image.container({}) as container:
        assert await container.wait() == 2
    assert "no way to authenticate subscribers" in container.log


async def publish(port: int) -> int:
    async with (
        aiohttp.ClientSession(headers={"Authorization": "Bearer key"}) as http,
        http.post(f"http://{HOST}:{port}/v1/broadcast", json={"event_type": "x", "data": 1}) as response,
    ):
        return response.status
