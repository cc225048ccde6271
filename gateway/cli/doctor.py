"""`gateway doctor`: its flags, and how what it found is told."""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import secrets
import sys
import textwrap
from typing import TYPE_CHECKING

from ..channels import user_id
from ..config import Settings
from ..doctor.report import Check, Outcome
from . import credentials
from .common import Commands, Stop, count, declare, settings_of
from .progress import ERASE, Progress, shown
from .terminal import Pen, printable
from .token import signed

if TYPE_CHECKING:
    from ..doctor.deployment import Deployment, Who

WIDTH = 96
INDENT = " " * 21
TTL = 3600

ABOUT = """
Looks at a gateway from where you are, through whatever is between: names, TLS, headers, compression, buffering,
delivery on several streams (so that a deaf process behind a balancer is found), resuming, clocks, CORS, and whether a
quiet stream is cut. Each finding comes with the line of configuration that mends it.

It publishes some small events of the type doctor.probe, and large ones (200 KB) if small ones do not arrive; to its
own user or topic (doctor.<run>) where the token allows one, else to the token's user. Give --publish-key, or delivery
is not looked at; give --internal where publishers have another address.

Exit status: 0 well (hints do not count), 1 there are findings, 2 there was nothing to look at.
"""
EXAMPLES = """
    gateway doctor http://127.0.0.1:8080                           a gateway in development mode
    gateway doctor https://events.example.com --token-file token --publish-key "$KEY" --internal http://10.0.0.7:9090
    GATEWAY_JWT_SECRET_FILE=jwt GATEWAY_PUBLISHER_KEY_FILE=key gateway doctor https://events.example.com
    gateway doctor https://events.example.com --token "$TOKEN" --origin https://app.example.com --idle 120
"""


def add(commands: Commands) -> None:
    parser = declare(commands, "doctor", run, "Look at a deployment from outside.", EXAMPLES, more=ABOUT)
    parser.add_argument("url", metavar="URL", help="what subscribers connect to")
    credentials.add_flags(parser)
    parser.add_argument("--user", metavar="ID", help="who to be, with --jwt-secret or in development mode (doctor-…)")
    parser.add_argument(
        "--publish-key", dest="set_publisher_key", metavar="KEY",
        help="a publisher key (GATEWAY_PUBLISHER_KEY or GATEWAY_PUBLISHER_KEY_FILE)",
    )  # fmt: skip
    parser.add_argument("--internal", metavar="URL", help="what publishers and operators connect to, if not that")
    parser.add_argument("--origin", metavar="ORIGIN", help="a site whose pages shall listen: https://app.example.com")
    parser.add_argument("--connections", type=count, default=8, metavar="N", help="streams, to meet all processes (8)")
    parser.add_argument("--idle", type=_seconds, default=35.0, metavar="S", help="how long to hold a quiet stream (35)")
    parser.add_argument("--json", action="store_true", help="what was found as JSON")


def run(args: argparse.Namespace) -> int:
    from ..doctor.deployment import Deployment  # brings an HTTP client
    from ..doctor.report import CannotExamine

    settings, name = settings_of(args).settings, secrets.token_hex(4)
    try:
        deployment = Deployment(
            args.url, _who(args, settings, name), run=name, internal=args.internal, key=settings.publisher_key
        )
    except ValueError as error:
        raise Stop(str(error), exit_status=2) from None
    try:
        return asyncio.run(_examine(args, deployment))
    except CannotExamine as error:
        raise Stop(error.detail, exit_status=2) from None


def _who(args: argparse.Namespace, settings: Settings, name: str) -> Who:
    from ..doctor.deployment import Who

    token = credentials.token_of(args)
    if token is not None:
        credentials.refuse_both(args)
        return Who.of_token(token)
    user = user_id(args.user or f"doctor-{name}")
    if settings.jwt_secret is None:
        return Who(user=user)
    return Who.of_token(signed(settings, settings.jwt_secret, user, ttl=TTL))


async def _examine(args: argparse.Namespace, deployment: Deployment) -> int:
    from ..doctor.examine import Examination

    tell = _Told() if not args.json else lambda check: None
    examination = Examination(deployment, tell, origin=args.origin, connections=args.connections, idle=args.idle)
    if not args.json:
        print(f"{deployment.base}, as {deployment.who.name}\n", flush=True)

    def progress() -> Progress:
        return Progress(
            examination.done, args.idle, f"{examination.done:.0f} of {args.idle:.0f} s: {examination.phase}"
        )

    async with deployment, shown(progress, sys.stderr):
        await examination.run()
    counts = {outcome: sum(check.outcome is outcome for check in examination.checks) for outcome in Outcome}
    if args.json:
        found = [check.as_json() for check in examination.checks]
        print(json.dumps({"url": deployment.base, "well": examination.is_well, "checks": found}, indent=2))
    else:
        print("\n" + ", ".join(f"{number} {_plural(outcome, number)}" for outcome, number in counts.items() if number))
    return 0 if examination.is_well else 1


class _Told:
    """A check as lines, as soon as it is done."""

    def __init__(self) -> None:
        pen = Pen(sys.stdout)
        self._pen = pen
        self._marks = {
            Outcome.OK: pen.green("ok     "),
            Outcome.HINT: pen.yellow("hint   "),
            Outcome.FINDING: pen.red("FINDING"),
            Outcome.SKIPPED: pen.dim("-      "),
        }

    def __call__(self, check: Check) -> None:
        if sys.stderr.isatty():
            print(ERASE, end="", file=sys.stderr, flush=True)  # the bar, which comes again
        first, *others = textwrap.wrap(printable(check.says), WIDTH) or [""]
        print(f"{self._marks[check.outcome]}  {self._pen.bold(f'{check.name:<10}')}  {first}")
        for line in others:
            print(f"{INDENT}{line}")
        for line in check.mend:
            for at, part in enumerate(textwrap.wrap(line, WIDTH - 2)):
                print(f"{INDENT}{'→ ' if at == 0 else '  '}{part}")
        sys.stdout.flush()


def _plural(outcome: Outcome, number: int) -> str:
    return {Outcome.OK: "ok", Outcome.SKIPPED: "not looked at"}.get(outcome, f"{outcome}{'s' if number > 1 else ''}")


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}: expected seconds, a number greater than 0")
    return value
