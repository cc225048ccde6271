"""`gateway serve`."""

from __future__ import annotations

import argparse

from .common import Commands, add_server_flags, declare, settings_of

EXAMPLES = """
    gateway serve --dev                                   try it out, no settings needed
    gateway serve --config gateway.toml --port 80
    gateway serve --broker-url redis://127.0.0.1:6379/0 --workers 4 --set retention_ttl=86400
"""


def add(commands: Commands) -> None:
    add_server_flags(declare(commands, "serve", run, "Run the gateway.", EXAMPLES))


def run(args: argparse.Namespace) -> int:
    loaded = settings_of(args, serve=True)
    from ..app import run  # the other commands do without the server

    return run(loaded.settings, warnings=loaded.warnings)
