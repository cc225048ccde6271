"""`make rules`: the alert rules of deploy/prometheus/rules.yml, where kustomize and Helm can reach them.

Neither reads a file outside its own folder. The chart has a copy, and makes an object of it; for kustomize it is one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from servers import ROOT

RULES = ROOT / "deploy" / "prometheus" / "rules.yml"
HEAD = """\
# Made of deploy/prometheus/rules.yml by `make rules`.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: event-gateway
  labels:
    app.kubernetes.io/name: event-gateway
spec:
"""


def as_it_is(rules: str) -> str:
    return rules


def as_an_object(rules: str) -> str:
    return HEAD + "".join(f"  {line}" if line.strip() else line for line in rules.splitlines(keepends=True))


COPIES: dict[Path, Callable[[str], str]] = {
    ROOT / "deploy" / "helm" / "event-gateway" / "files" / "rules.yml": as_it_is,
    ROOT / "deploy" / "kubernetes" / "overlays" / "production" / "rules.yaml": as_an_object,
}

if __name__ == "__main__":
    for path, made in COPIES.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(made(RULES.read_text()))
        print(path.relative_to(ROOT))
