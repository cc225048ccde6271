"""Writes docs/settings.md and docs/metrics.md from the code: `make docs`. A test holds that they are up to date.

Texts about a setting or a series are where it is declared; here is only what stands around them. A new one falls into
the section of those that it stands with.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from prometheus_client.core import Metric

from gateway.app import build
from gateway.config import SETTINGS, Settings, env_name, shown
from gateway.telemetry.metrics import Metrics
from gateway.web.context import GATEWAY

DOCS = Path(__file__).parent

SETTINGS_INTRO = """# Settings

Made from the code by `make docs`; `gateway config` prints those in force, and where each comes from.

A setting is given as a flag (`--set NAME=VALUE`, some have one of their own), in the environment, or in a TOML file
(`--config gateway.toml`, by the name without `GATEWAY_`, in lower case). Flags win over the environment, the
environment over the file. Those marked *secret* may also lie in a file of their own, which the setting with `_FILE`
at its end names: `GATEWAY_JWT_SECRET_FILE=/run/secrets/jwt`. An unknown name, a bad value, or settings that contradict
each other end the start, with all that is wrong in one go. Which to change in which situation says the
[operating guide](operating.md#settings-by-situation).
"""

SETTINGS_SECTIONS = {
    "host": "Where it listens",
    "broker_url": "Broker",
    "retention": "History",
    "heartbeat_interval": "Streams",
    "ready_max_lag": "Readiness",
    "max_connections": "Limits",
    "jwt_secret": "Who is asking",
    "log_format": "Logs",
    "publisher_url": "Clients",
}
"""By the first setting of each section."""

METRICS_INTRO = """# Metrics

Made from the code by `make docs`. `GET /metrics` is Prometheus' text format; with `GATEWAY_INTERNAL_PORT` it is only
there. No label ever holds a user, a channel, a token or a key; where their values are known they are named here, and
all are there from the start. [deploy/prometheus](../deploy/prometheus) and [deploy/grafana](../deploy/grafana) have
alerts and a dashboard over them, the [operating guide](operating.md) says how to read both.

With `GATEWAY_WORKERS` whoever is asked answers for all: every series has a `worker` label, and `gateway_worker_up` is 0
for one that gave no answer. Sum over it, or look at each: they share nothing.

Besides there are `process_*` (memory, CPU, descriptors and their limit) and `python_*`, under the names that they have
in every program that prometheus-client is part of.
"""

METRICS_SECTIONS = {
    "Streams": r"gateway_(connections|channels|buffer|tail)",
    "Events": r"gateway_(events_(received|delivered)|delivered|event_latency|fan_out)",
    "Catching up": r"gateway_(catch|history|fell|gaps)",
    "Publishing": r"gateway_(events_published|publish)",
    "Broker": r"gateway_(broker|heals|registry|processes)",
    "Who is asking": r"gateway_(credentials|jwks|tickets|users)",
    "The process": r"",
}
"""The first whose pattern a name begins with."""


def settings_page() -> str:
    defaults = Settings(dev=True)
    lines = [SETTINGS_INTRO.rstrip()]
    for name, setting in SETTINGS.items():
        if name in SETTINGS_SECTIONS:
            lines += ["", f"## {SETTINGS_SECTIONS[name]}", "", "| setting | default | takes | |", "|---|---|---|---|"]
        default = _default(shown(defaults, name), setting.kind.unit)
        help = setting.help + (" · *secret*" if setting.secret else "")
        lines.append(f"| `{env_name(name)}` | {default} | {_cell(setting.kind.expected)} | {_cell(help)} |")
    return "\n".join(lines) + "\n"


def _default(value: Any, unit: str) -> str:
    match value:
        case None | []:
            return "unset"
        case bool():
            return "`on`" if value else "`off`"
        case float():
            text = f"{value:g}"
        case _:
            text = str(value)
    return f"`{text}` {unit}".rstrip()


def metrics_page() -> str:
    metrics = build(Settings(dev=True))[GATEWAY].metrics
    sections: defaultdict[str, list[str]] = defaultdict(list)
    for family in metrics.registry.collect():
        if not family.name.startswith("gateway_"):
            continue
        sections[_section(family.name)].append(_row(family, metrics))
    lines = [METRICS_INTRO.rstrip()]
    for title in METRICS_SECTIONS:
        lines += ["", f"## {title}", "", "| series | kind | labels | |", "|---|---|---|---|", *sections[title]]
    return "\n".join(lines) + "\n"


def _section(name: str) -> str:
    return next(title for title, pattern in METRICS_SECTIONS.items() if re.match(pattern, name))


def _row(family: Metric, metrics: Metrics) -> str:
    name = family.name + ("_total" if family.type == "counter" else "")
    return f"| `{name}` | {family.type} | {'; '.join(_labels(family, metrics))} | {_cell(family.documentation)} |"


def _labels(family: Metric, metrics: Metrics) -> Iterator[str]:
    """Each label, with the values it has from the start."""
    known: dict[str, dict[str, None]] = {name: {} for name in metrics.labels.get(family.name, ())}
    for sample in family.samples:
        for label, value in sample.labels.items():
            known.setdefault(label, {})[value] = None
    known.pop("le", None)
    for label, values in known.items():
        told = ", ".join(values) if label != "version" else ""
        yield f"`{label}`: {told}" if told else f"`{label}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


PAGES: dict[str, Callable[[], str]] = {"settings.md": settings_page, "metrics.md": metrics_page}


if __name__ == "__main__":
    for page, write in PAGES.items():
        (DOCS / page).write_text(write())
