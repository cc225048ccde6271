"""What the commands share: how one is declared, how its settings are read, and how it ends when it cannot go on."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from textwrap import dedent, indent
from typing import TypeAlias

from ..config import SETTINGS, Loaded, load
from ..errors import GatewayError

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""What `ArgumentParser.add_subparsers` gives."""

DEFAULT_URL = "http://127.0.0.1:8080"


class Stop(GatewayError):
    """Ends a command with one line for people and `exit_status`."""

    def __init__(self, detail: str, exit_status: int = 1) -> None:
        super().__init__(detail)
        self.exit_status = exit_status


def complain(problems: Iterable[str], status: int) -> int:
    for problem in problems:
        print(f"gateway: {problem}", file=sys.stderr)
    return status


def declare(
    commands: Commands,
    name: str,
    run: Callable[[argparse.Namespace], int],
    help: str,
    examples: str,
    *,
    more: str = "",
) -> argparse.ArgumentParser:
    """A new command's parser, with the flags that all commands have. `more` is what its help says besides."""
    new = commands.add_parser(
        name,
        help=help,
        description="\n\n".join(filter(None, (help, dedent(more).strip()))),
        epilog="examples:\n" + indent(dedent(examples).strip(), "  "),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    new.add_argument("--config", metavar="FILE", help="TOML file of settings")
    new.add_argument(
        "--set",
        action="append",
        default=[],
        type=_assignment,
        metavar="NAME=VALUE",
        help="any setting, over environment and file; `gateway config` lists them",
    )
    new.set_defaults(run=run)
    return new


def add_server_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dev", action="store_true", help="development mode: loopback only, no tokens")
    for name in ("host", "port", "broker_url", "workers", "log_level", "log_format"):
        flag, metavar = "--" + name.replace("_", "-"), name.rpartition("_")[2].upper()
        parser.add_argument(flag, dest=f"set_{name}", metavar=metavar, help=SETTINGS[name].help)


def settings_of(args: argparse.Namespace, *, serve: bool = False) -> Loaded:
    """The settings in force. A flag whose `dest` is `set_<setting>` gives that one, `--set` any other."""
    given = {name: getattr(args, f"set_{name}", None) for name in SETTINGS}
    flags = {name: value for name, value in given.items() if value is not None} | dict(args.set)
    return load(flags, config_file=args.config, dev=getattr(args, "dev", False), serve=serve)


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r}: expected NAME=VALUE, for example retention=off")
    return name, value


def count(text: str) -> int:
    """For `type=`: a whole number of 1 or more."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number, 1 or more")
    return int(text)
