"""The alert rules are the same wherever they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from deploy.chart import rendered
from deploy.manifests import Manifests, overlay
from deploy.rules import COPIES, RULES


@pytest.mark.parametrize("path", COPIES, ids=lambda path: path.parent.name)
def test_a_copy_is_up_to_date(path: Path) -> None:
    """After a change to rules.yml: `make rules`, and commit what it wrote."""
    assert path.read_text() == COPIES[path](RULES.read_text()), f"{path} is not up to date: run `make rules`"


@pytest.mark.parametrize(
    "made", [lambda: overlay("production"), lambda: overlay("keda"), rendered], ids=["production", "keda", "helm"]
)
def test_the_cluster_has_the_same_rules(made: Callable[[], Manifests]) -> None:
    """Templates in them, which are Prometheus', come through as they are."""
    assert made().one("PrometheusRule")["spec"] == yaml.safe_load(RULES.read_text())
