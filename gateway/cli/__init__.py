"""The command line. Each command is a module with `add`, its flags, and `run`, arguments to an exit status.

0 is done, 1 is that something out there said no, 2 is that what was asked for cannot be right. What went
wrong is said on stderr, a line each that starts with `gateway: `; stdout holds the answer and nothing else.
"""

from __future__ import annotations

import argparse

from ..config import ConfigError
from ..errors import InvalidEvent
from . import bench, config, health, publish, serve, token
from .common import Stop, complain

__all__ = ["main"]

COMMANDS = (serve, config, health, token, publish, bench)


def main(argv: list[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    try:
        status: int = args.run(args)
        return status
    except ConfigError as error:
        return complain(error.problems, 2)
    except InvalidEvent as error:
        return complain([str(error)], 2)
    except Stop as error:
        return complain([error.detail], error.exit_status)
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gateway",
        description="A Server-Sent-Events gateway.",
        epilog="`gateway COMMAND --help` shows examples of each.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add(commands)
    return parser
