"""deploy/compose: valid, and right in what it says of the other files; nginx and the gateways run as it would run them.

There is no docker here: what compose itself does (images, networks, volumes) nobody has seen.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from nginx import SHIPPED, NginxServer, needs_nginx, version
from servers import ROOT, GatewayProcess, RedisServer, free_port

from gateway.config import load

COMPOSE = ROOT / "deploy" / "compose"
GATEWAYS = ("gateway-1", "gateway-2")
COMPOSED = ["../compose/nginx"]
RESOLVES = (1, 27, 3)
"""The first nginx that asks again for the addresses of its servers."""


@pytest.fixture(scope="module")
def composed() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((COMPOSE / "compose.yaml").read_text())
    return document


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """What make-secrets makes."""
    shutil.copy(COMPOSE / "make-secrets", tmp_path)
    subprocess.run([tmp_path / "make-secrets"], check=True, stdout=subprocess.DEVNULL)
    return tmp_path / "secrets"


def environment(composed: dict[str, Any], secrets: Path, service: str = "gateway-1") -> dict[str, str]:
    """Of a gateway, its secrets where make-secrets put them."""
    given = composed["services"][service]["environment"]
    return {name: value.replace("/run/secrets", str(secrets)) for name, value in given.items()}


def seconds(duration: str) -> float:
    return float(duration.removesuffix("s"))


def test_it_is_a_compose_file() -> None:
    """By the schema of the compose specification."""
    validator = Path(sys.executable).with_name("check-jsonschema")
    if not validator.exists():
        pytest.skip("there is no check-jsonschema; make .venv/test installs it")
    command = [str(validator), "--builtin-schema", "vendor.compose-spec", str(COMPOSE / "compose.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout


def test_what_it_mounts_is_there(composed: dict[str, Any]) -> None:
    """Each file of this repository, by its path from the compose file; all of them read-only."""
    for name, service in composed["services"].items():
        for volume in service.get("volumes", []):
            source, _, rest = volume.partition(":")
            if source.startswith("."):
                assert (COMPOSE / source).exists(), f"{name}: {source}"
                assert rest.endswith(":ro"), f"{name}: {volume}"
            else:
                assert source in composed["volumes"]
    build = composed["services"]["gateway-1"]["build"]
    assert (COMPOSE / build["context"] / build["dockerfile"]).exists()


def test_the_gateways_start_with_their_settings(composed: dict[str, Any], secrets: Path) -> None:
    """No unknown name, nothing that contradicts; and docker waits for their drain."""
    for name in GATEWAYS:
        loaded = load(environ=environment(composed, secrets, name), serve=True)
        assert not loaded.warnings
        assert [key.scopes for key in loaded.settings.publish_keys] == [("*",)]
        service = composed["services"][name]
        assert seconds(service["stop_grace_period"]) >= loaded.settings.drain_seconds + 10
        assert service["healthcheck"]["test"] == ["CMD", "gateway", "health", "--ready"]


def test_secrets_are_made_once(composed: dict[str, Any], secrets: Path) -> None:
    """Every one that is asked for; kept when asked again; in a folder for their owner, and readable inside."""
    wanted = {Path(secret["file"]).name for secret in composed["secrets"].values()}
    made = {path.name: path.read_text() for path in secrets.iterdir()}
    assert made.keys() == wanted
    subprocess.run([secrets.parent / "make-secrets"], check=True)
    assert made == {path.name: path.read_text() for path in secrets.iterdir()}
    assert secrets.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in secrets.iterdir())
    ignored = subprocess.run(["git", "check-ignore", COMPOSE / "secrets" / "jwt-secret"], cwd=ROOT, capture_output=True)
    assert ignored.returncode in (0, 128), "secrets might be committed"  # 128: this is no repository


def test_only_nginx_is_open_to_others(composed: dict[str, Any]) -> None:
    """All other ports are this host's own; Redis is on a network without a way in or out, and confined as all are."""
    for name, service in composed["services"].items():
        for port in service.get("ports", []):
            assert name == "nginx" or port.startswith("127.0.0.1:"), f"{name}: {port}"
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
    assert composed["networks"]["inside"] == {"internal": True}
    assert composed["services"]["redis"]["networks"] == ["inside"]
    assert composed["services"]["nginx"]["networks"] == ["edge"]


def test_names_and_ports_are_the_same_everywhere(composed: dict[str, Any], secrets: Path) -> None:
    """What nginx and Prometheus call the gateways is what they are called, on the ports they listen on."""
    settings = load(environ=environment(composed, secrets), serve=True).settings
    servers = re.findall(r"^server (\S+) ", (COMPOSE / "nginx" / "servers.conf").read_text(), re.MULTILINE)
    assert servers == [f"{name}:{settings.port}" for name in GATEWAYS]
    scraped = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    (targets,) = [target["targets"] for job in scraped for target in job["static_configs"]]
    assert targets == [f"{name}:{settings.internal_port}" for name in GATEWAYS]
    listens = re.search(r"^listen (\d+);", (COMPOSE / "nginx" / "listen.conf").read_text(), re.MULTILINE)
    assert listens is not None
    assert composed["services"]["nginx"]["ports"] == [f"${{PORT:-8080}}:{listens[1]}"]


def test_grafana_finds_the_dashboard(composed: dict[str, Any]) -> None:
    """It is mounted in the folder that the provisioning names."""
    provisioning = ROOT / "deploy" / "grafana" / "provisioning" / "dashboards"
    (provider,) = [
        provider for file in provisioning.iterdir() for provider in yaml.safe_load(file.read_text())["providers"]
    ]
    mounted = [volume.split(":")[1] for volume in composed["services"]["grafana"]["volumes"]]
    assert f"{provider['options']['path']}/dashboard.json" in mounted


def test_nginx_has_all_its_files(composed: dict[str, Any]) -> None:
    """Whatever nginx.conf and gateway.conf include is mounted where they look for it."""
    mounted = dict(volume.split(":")[1::-1] for volume in composed["services"]["nginx"]["volumes"])
    included = {
        f"/etc/nginx/{path}"
        for source in mounted.values()
        for path in re.findall(r"^\s*include (\S+);", (COMPOSE / source).read_text(), re.MULTILINE)
        if "*" not in path
    }
    assert mounted.keys() == included | {"/etc/nginx/nginx.conf"}


@pytest.mark.slow
@needs_nginx
async def test_gateway_doctor_finds_nothing(composed: dict[str, Any], secrets: Path) -> None:
    """With the secrets that were made, through the composed nginx to both gateways: at once, whole, resumed."""
    old = {} if version() >= RESOLVES else {" resolve ": " ", "resolver ": "# "}
    internal = [free_port() for _ in GATEWAYS]
    async with RedisServer() as redis:
        one, two = (
            GatewayProcess(
                environment(composed, secrets) | {"GATEWAY_BROKER_URL": redis.url, "GATEWAY_INTERNAL_PORT": port}
            )
            for port in map(str, internal)
        )
        main = (SHIPPED / "nginx.conf").read_text()
        async with one, two, NginxServer(one.port, two.port, main=main, overlays=COMPOSED, replace=old) as nginx:
            key = (secrets / "publish-keys").read_text().split(":")[1]
            doctor = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "gateway", "doctor", nginx.url, "--idle", "1"),
                *("--internal", f"http://127.0.0.1:{internal[0]}", "--publish-key", key),
                env=os.environ | {"GATEWAY_JWT_SECRET_FILE": str(secrets / "jwt-secret")},
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            said, _ = await doctor.communicate()
    assert doctor.returncode == 0, said.decode()
