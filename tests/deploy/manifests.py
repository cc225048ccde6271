"""What would be applied to a cluster: built from deploy/kubernetes as kubectl does, and judged as the cluster would.

Each object is held to its kind's schema, strictly: no field that it does not know. Those of custom kinds are in
schemas/, for the fields that are used here; they were compared with what their projects publish.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from servers import ROOT

from gateway.config import Loaded, load

KUBERNETES = ROOT / "deploy" / "kubernetes"
SCHEMAS = Path(__file__).with_name("schemas")
OLDEST = "1.30"
"""Of the clusters it is for: the first with the preStop sleep by default."""

Manifest = dict[str, Any]


class Manifests:
    """A set of objects. `one("Service", "event-gateway")`; names that a hash follows go without it."""

    def __init__(self, objects: list[Manifest]) -> None:
        self.objects = objects

    def all(self, kind: str) -> list[Manifest]:
        return [item for item in self.objects if item["kind"] == kind]

    def one(self, kind: str, name: str = "event-gateway") -> Manifest:
        (found,) = [item for item in self.all(kind) if item["metadata"]["name"] in (name, self._hashed(kind, name))]
        return found

    @property
    def pod(self) -> Manifest:
        """The gateway's pod, as its Deployment has it."""
        return dict(self.one("Deployment")["spec"]["template"])

    @property
    def container(self) -> Manifest:
        (container,) = self.pod["spec"]["containers"]
        return dict(container)

    @property
    def environment(self) -> dict[str, str]:
        """What the gateway's container is started with, config maps followed."""
        values: dict[str, str] = {}
        for source in self.container.get("envFrom", []):
            values |= self.one("ConfigMap", source["configMapRef"]["name"])["data"]
        return values | {item["name"]: item["value"] for item in self.container.get("env", [])}

    def settings(self, directory: Path) -> Loaded:
        """As the gateway would read them; secrets are mounted under `directory`. Raises what it would refuse."""
        secrets = self._secrets()
        environment = dict(self.environment)
        (mount,) = [mount for mount in self.container["volumeMounts"] if mount["name"] == "secrets"]
        for name, path in environment.items():
            if name.endswith("_FILE"):
                assert path.startswith(mount["mountPath"] + "/"), f"{path} is not where secrets are mounted"
                file = directory / Path(path).name
                file.write_text(secrets[file.name])
                environment[name] = str(file)
        return load(environ=environment, serve=True)

    def _secrets(self) -> dict[str, str]:
        """Those that are brought along, or such as an operator would make."""
        if self.all("Secret"):
            data = self.one("Secret")["data"]
            return {key: base64.b64decode(value).decode() for key, value in data.items()}
        return {"broker-url": "rediss://gateway:pw@redis:6379/0", "jwt-secret": "s" * 32, "publish-keys": "a:b:user:*"}

    def _hashed(self, kind: str, name: str) -> str:
        hashed = [i["metadata"]["name"] for i in self.all(kind) if i["metadata"]["name"].rpartition("-")[0] == name]
        return hashed[0] if kind in ("ConfigMap", "Secret") and len(hashed) == 1 else name


@cache
def overlay(name: str) -> Manifests:
    """deploy/kubernetes/overlays/<name>."""
    return kustomized(KUBERNETES / "overlays" / name)


def kustomized(directory: Path) -> Manifests:
    """As `kubectl apply -k` would send it."""
    if shutil.which("kubectl") is None:
        pytest.skip("there is no kubectl to build overlays with")
    command = ["kubectl", "kustomize", str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr  # deprecated fields are warned of there
    return Manifests(parsed(done.stdout))


def parsed(text: str) -> list[Manifest]:
    return [item for item in yaml.safe_load_all(text) if item is not None]


def judge(item: Manifest) -> None:
    """Raises `jsonschema.ValidationError` for what an API server would say against it."""
    schema = SCHEMAS / f"{item['kind']}.json"
    if schema.exists():
        jsonschema.Draft202012Validator(json.loads(schema.read_text())).validate(item)
        return
    for version in (OLDEST, kubernetes_validate.latest_version()):
        kubernetes_validate.validate(item, version, strict=True)


def matches(selector: Mapping[str, str], item: Manifest) -> bool:
    labels = item["metadata"].get("labels", {})
    return all(labels.get(key) == value for key, value in selector.items())
