"""helm-python-sdk as a program: what it loads brings threads and signal handlers that no test should share.

Reads {"do": "lint" or "render", "chart", "values", "release"} from stdin, and answers in JSON.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import helm_python as helm

NEWEST_KUBERNETES = "1.37"


def answer(do: str, chart: str, values: dict[str, Any], release: str) -> Any:
    namespace = "event-gateway"
    if do == "lint":
        return helm.lint(chart, values, strict=True, namespace=namespace, kube_version=NEWEST_KUBERNETES)
    return helm.Chart.load(chart).render(values, name=release, namespace=namespace, is_install=True)


if __name__ == "__main__":
    print(json.dumps(answer(**json.load(sys.stdin))))
