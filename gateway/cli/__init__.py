"""The command line. Each command is a module with `add`, its flags, and `run`, arguments to an exit status.

0 is done, 1 is that something out there said no, 2 is that what was asked for cannot be right; 130 and 141 are a
shell's, for Ctrl-C and a pipe that nobody reads. What went wrong is said on stderr, a line each that starts with
`gateway: `; stdout holds the answer and nothing else.
"""

from __future__ import annotations

import argparse
import os
import sys
from textwrap import dedent

from ..config import ConfigError
from ..errors import InvalidEvent
from . import bench, catalogue, config, doctor, health, publish, serve, tail, token
from .common import Stop, complain

__all__ = ["main"]

EXAMPLES = """
try it, in three terminals:
  gateway serve --dev                                            a gateway on http://127.0.0.1:8080
  gateway tail --user 42                                         what user 42 hears
  gateway publish --user 42 --type greeting '{"text": "hello"}'

`gateway COMMAND --help` has examples of each. Exit status: 0 done, 1 something out there said no or is not well,
2 what was asked for cannot be right. Colours are for terminals; NO_COLOR=1 turns them off.
"""

COMMANDS = (serve, publish, tail, token, config, catalogue, health, doctor, bench)


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
    except BrokenPipeError:  # whoever read has left: `gateway tail … | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter will flush
        return 141


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gateway",
        description="A Server-Sent-Events gateway.",
        epilog=dedent(EXAMPLES),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add(commands)
    return parser
