"""docs/deploying.md: its commands and files are tried as far as a machine without a cluster and a docker can."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from deploy.chart import rendered
from deploy.manifests import kustomized
from nginx import NGINX, certificate, needs_nginx
from servers import ROOT

from gateway.config import SETTINGS, env_name, load

PAGE = ROOT / "docs" / "deploying.md"
TEXT = PAGE.read_text()
MAIN = """
pid {here}/pid;
error_log {here}/log;
events {{}}
http {{
    access_log off;
    include conf.d/*.conf;
}}
"""


def block(heading: str, language: str, number: int = 0) -> str:
    """A block of code under a heading of the page."""
    section = TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return str(re.findall(rf"^ *```{language}\n(.*?)^ *```", section, re.DOTALL | re.MULTILINE)[number])


def slug(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.strip().lower()).replace(" ", "-")


def test_its_links_lead_somewhere() -> None:
    """Pages and files that are there, headings included."""
    for target in re.findall(r"\]\((?!http)([^)]+)\)", TEXT):
        path, _, anchor = target.partition("#")
        file = (PAGE.parent / path).resolve() if path else PAGE
        assert file.exists(), target
        headings = [slug(h) for h in re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)]
        assert not anchor or anchor in headings, target


def test_what_it_names_is_there() -> None:
    """Files of this repository, and settings."""
    for path in re.findall(r"(?<![\w/])deploy/[\w./-]*[\w/]", TEXT):
        assert (ROOT / path.removesuffix("/secrets/publish-keys")).exists(), path
    for name in re.findall(r"GATEWAY_[A-Z_]+", TEXT):
        assert name.removesuffix("_") == "GATEWAY" or name in map(env_name, SETTINGS), name


def test_an_overlay_of_ones_own(tmp_path: Path) -> None:
    """On top of production it changes image, Gateway and host."""
    overlay = yaml.safe_load(block("Kubernetes", "yaml"))
    _, _, path = overlay["resources"][0].partition("event-gateway/")
    production = ROOT / path.partition("?")[0]
    overlay["resources"] = [os.path.relpath(production, tmp_path.resolve())]
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    manifests = kustomized(tmp_path)
    assert manifests.container["image"] == "registry.internal/event-gateway:0.1.0"
    assert manifests.one("HTTPRoute")["spec"]["hostnames"] == ["events.example.org"]


def test_values_of_ones_own() -> None:
    """A public key instead of the secret."""
    environment = rendered(yaml.safe_load(block("Helm", "yaml"))).environment
    assert "GATEWAY_JWT_PUBLIC_KEY_FILE" in environment
    assert "GATEWAY_JWT_SECRET_FILE" not in environment


@needs_nginx
def test_nginx_by_hand(tmp_path: Path) -> None:
    """The page's commands lay the files where a plain nginx.conf finds them, in all variants at once."""
    copies = "".join(line for line in block("nginx", "sh").splitlines(keepends=True) if line.startswith("cp "))
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "tls").mkdir()
    certificate(tmp_path / "tls")
    subprocess.run(["sh", "-ec", copies.replace("/etc/nginx", str(tmp_path))], cwd=ROOT, check=True)
    for path, text, other in (
        ("gateway/listen.conf", "/etc/nginx", str(tmp_path)),
        ("gateway/locations/who.conf", "app.internal", "127.0.0.1"),
    ):
        file = tmp_path / path
        assert text in file.read_text()
        file.write_text(file.read_text().replace(text, other))
    (tmp_path / "nginx.conf").write_text(MAIN.format(here=tmp_path))
    assert NGINX is not None
    done = subprocess.run(
        [NGINX, "-t", "-p", tmp_path, "-c", "nginx.conf", "-e", "log"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_secret_is_what_pods_look_for(tmp_path: Path) -> None:
    """Made of the page's files by kubectl, under the name that is mounted; a gateway would start with them."""
    if shutil.which("kubectl") is None:
        pytest.skip("there is no kubectl to make a secret with")
    script = block("Kubernetes", "sh", 1).replace("\\\n", "")
    lines = [line for line in script.splitlines() if "kubectl" not in line or "create secret" in line]
    dry = ["sh", "-ec", "\n".join(lines) + " --dry-run=client --output yaml"]
    done = subprocess.run(dry, cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    made = yaml.safe_load(done.stdout)
    chart = rendered()
    (wanted,) = [volume["secret"]["secretName"] for volume in chart.pod["spec"]["volumes"] if "secret" in volume]
    assert made["metadata"] | {"name": wanted} == made["metadata"]
    paths = {Path(value).name for name, value in chart.environment.items() if name.endswith("_FILE")}
    assert made["data"].keys() == paths
    loaded = load(
        environ={f"GATEWAY_{path.replace('-', '_').upper()}_FILE": str(tmp_path / path) for path in paths}, serve=True
    )
    assert loaded.settings.publish_keys[0].name == "billing"
