"""The chart in deploy/helm, looked at and rendered as `helm lint` and `helm template` do it."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from deploy.manifests import Manifests, parsed
from servers import ROOT

CHART = ROOT / "deploy" / "helm" / "event-gateway"


class Refused(Exception):
    """What Helm says against the values."""


def lint(values: dict[str, Any]) -> list[str]:
    """Errors and warnings of `helm lint --strict`; that an icon is recommended is neither."""
    report = _ask("lint", values)
    return [*report["errors"], *(m["error"] for m in report["messages"] if m["severity"] > 1)]


def rendered(values: dict[str, Any] | None = None, *, release: str = "event-gateway") -> Manifests:
    """`helm template <release> deploy/helm/event-gateway --namespace event-gateway`."""
    files = _ask("render", values or {}, release)
    return Manifests([item for name, text in files.items() if name.endswith(".yaml") for item in parsed(text)])


def notes(values: dict[str, Any] | None = None) -> str:
    """What `helm install` says when it is done."""
    (text,) = [text for name, text in _ask("render", values or {}).items() if name.endswith("NOTES.txt")]
    return str(text)


def _ask(do: str, values: dict[str, Any], release: str = "event-gateway") -> dict[str, Any]:
    if importlib.util.find_spec("helm_python") is None:
        pytest.skip("there is no helm-python-sdk for this machine")
    asked = json.dumps({"do": do, "chart": str(CHART), "values": values, "release": release})
    command = [sys.executable, str(Path(__file__).with_name("helm_sdk.py"))]
    done = subprocess.run(command, input=asked, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise Refused(done.stderr)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
