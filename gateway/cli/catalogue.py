"""`gateway catalogue`."""

from __future__ import annotations

import argparse
import sys

from ..catalogue import Catalogue, load, python, typescript
from .common import Commands, declare

EXAMPLES = """
    gateway catalogue events.yaml
    gateway catalogue events.yaml --python > events.py
    gateway catalogue events.yaml --typescript > events.ts
    gateway serve --set event_catalogue=events.yaml
"""


def add(commands: Commands) -> None:
    parser = declare(
        commands, "catalogue", run, "Check a catalogue of event types, or write it as Python or TypeScript.", EXAMPLES
    )
    parser.add_argument("file", metavar="FILE", help="the catalogue, YAML; what is wrong is told with its line")
    written = parser.add_mutually_exclusive_group()
    written.add_argument("--python", action="store_true", help="print SSEEventType, a StrEnum, and types of the data")
    written.add_argument("--typescript", action="store_true", help="print the same for TypeScript")


def run(args: argparse.Namespace) -> int:
    catalogue = load(args.file)
    if args.python:
        sys.stdout.write(python.module(catalogue))
    elif args.typescript:
        sys.stdout.write(typescript.module(catalogue))
    else:
        print("\n".join(_listed(catalogue)))
    return 0


def _listed(catalogue: Catalogue) -> list[str]:
    """A line for each event type."""
    width = max((len(name) for name in catalogue.types), default=0)
    rows = [
        f"{known.name:<{width}}  {known.category or '-':<{_widest(catalogue)}}  {known.description}".rstrip()
        for known in catalogue.types.values()
    ]
    others = "passed" if catalogue.unknown_types_pass else "refused"
    return [*rows, f"{len(rows)} event types; others are {others}"]


def _widest(catalogue: Catalogue) -> int:
    return max((len(name) for name in catalogue.categories), default=1)
