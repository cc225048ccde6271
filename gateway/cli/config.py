"""`gateway config`."""

from __future__ import annotations

import argparse
import json
from typing import Any

from ..config import SETTINGS, env_name, shown
from .common import Commands, add_server_flags, complain, declare, settings_of

EXAMPLES = """
    gateway config
    gateway config --config gateway.toml --json
"""


def add(commands: Commands) -> None:
    parser = declare(commands, "config", run, "Print the settings in force, and where each comes from.", EXAMPLES)
    add_server_flags(parser)
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(args: argparse.Namespace) -> int:
    loaded = settings_of(args)
    complain(loaded.warnings, 0)
    rows = {name: (shown(loaded.settings, name), loaded.sources[name]) for name in SETTINGS}
    if args.json:
        print(json.dumps({name: {"value": v, "source": source} for name, (v, source) in rows.items()}, indent=2))
        return 0
    for name, (value, source) in rows.items():
        print(f"{env_name(name):<33} {_as_written(value):<28} {source}")
    return 0


def _as_written(value: Any) -> str:
    """`value` as it would be given in the environment."""
    match value:
        case None | []:
            return "-"
        case bool():
            return "on" if value else "off"
        case float():
            return f"{value:g}"
        case list():
            return ",".join(value)
    return str(value)
