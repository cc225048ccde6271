"""`gateway bench`: its flags, what they must be, and how its outcome is told."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import re
import signal
import sys
import time
from uuid import uuid4

import jwt

from .. import channels
from ..bench.files import make_room
from ..bench.plan import Address, CannotRun, Plan, Subscriber, Target
from ..bench.report import figures, remarks, table
from ..bench.run import PUBLISHING, TRYING, Lost, Run
from ..config import Settings
from ..errors import InvalidEvent
from ..setting_kinds import hide_password
from . import credentials
from .common import DEFAULT_URL, Commands, Stop, complain, declare, settings_of
from .progress import Progress, shown
from .token import signed

MOST_EVENTS = 1_000_000
CONNECTING_SECONDS = 600
"""By which a token made for a run outlives it: streams are opened first."""

ABOUT = """
Holds streams, publishes events, and accounts for each event on each stream. The streams are those of users
bench-0, bench-1, …; with --token, of that token's user. Their tokens are made with --jwt-secret; a gateway in
development mode needs none.

--to users      (default) each event to one of these users, in turn
--to topic      each event to all these streams, over a topic of the run's own (bench.<run>)
--to broadcast  each event to EVERYONE who is connected, real users too, and into the history of broadcasts,
                where it displaces older ones; where that is not wanted, topic loads a gateway just the same

Ctrl-C ends it early, and tells what was measured.
Exit status: 0 clean, 1 something was lost, doubled, out of order or refused, 2 the run could not begin.
"""
EXAMPLES = """
    gateway bench                                                     against `gateway serve --dev`
    gateway bench --connections 5000 --rate 200 --seconds 60 --to topic
    GATEWAY_JWT_SECRET_FILE=jwt GATEWAY_PUBLISHER_KEY_FILE=key gateway bench --url https://events.example.com
    gateway bench --token-file token --publish-key "$KEY" --connections 20 --json
"""


def add(commands: Commands) -> None:
    parser = declare(commands, "bench", run, "Load a gateway, and see what arrives.", EXAMPLES, more=ABOUT)
    parser.add_argument("--url", default=DEFAULT_URL, metavar="URL", help=f"the gateway ({DEFAULT_URL})")
    parser.add_argument("--publish-url", metavar="URL", help="where events are published, if not there")
    parser.add_argument("--connections", default="100", metavar="N", help="streams to hold (100)")
    parser.add_argument("--rate", default="50", metavar="N", help="events to publish each second (50)")
    parser.add_argument("--seconds", default="10", metavar="N", help="how long to publish (10)")
    parser.add_argument("--to", default="users", metavar="WHOM", help="users, topic or broadcast (users); see above")
    credentials.add_flags(parser)
    parser.add_argument(
        "--publish-key", dest="set_publisher_key", metavar="KEY",
        help="a publisher key (GATEWAY_PUBLISHER_KEY or GATEWAY_PUBLISHER_KEY_FILE)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="the figures as JSON")


def run(args: argparse.Namespace) -> int:
    from ..client.http import HttpTransport

    settings = settings_of(args).settings
    plan = _plan(args, settings)
    publish_url = _address("--publish-url", args.publish_url).base if args.publish_url else plan.address.base
    try:
        make_room(len(plan.subscribers))
        done = Run(plan, HttpTransport(publish_url, settings.publisher_key), publish_url)
        asyncio.run(_with_progress(done))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    except CannotRun as error:
        raise Stop(error.detail, exit_status=2) from None
    except Lost as error:
        raise Stop(error.detail, exit_status=1) from None
    found = figures(done)
    print(json.dumps(found, indent=2) if args.json else table(found))
    complain(remarks(done, found), 0)
    return 0 if found["clean"] else 1


async def _with_progress(run: Run) -> None:
    """Ctrl-C ends the publishing, and what was measured is told; before there is anything, or again, it ends all."""
    running, loop = asyncio.create_task(run.run()), asyncio.get_running_loop()

    def interrupted() -> None:
        if run.phase != PUBLISHING or run.stopped:
            running.cancel()
        run.stopped = True

    with contextlib.suppress(RuntimeError, ValueError):  # only a process's main thread is interrupted
        loop.add_signal_handler(signal.SIGINT, interrupted)
    async with shown(lambda: _progress(run), sys.stderr):
        await running


def _progress(run: Run) -> Progress:
    if run.phase in (TRYING, "connecting"):
        return Progress(run.done, run.total, f"{run.phase}: {run.done:,} of {run.total:,} connections")
    events = f"{run.done:,} of {run.total:,} events, {run.ledger.delivered:,} deliveries"
    return Progress(run.done, run.total, f"{run.phase}: {events}")


def _plan(args: argparse.Namespace, settings: Settings) -> Plan:
    if args.to not in list(Target):
        raise Stop(f"--to {args.to}: expected one of {', '.join(Target)}", exit_status=2)
    connections = _number("--connections", args.connections, "a whole number of 1 or more, such as 100", whole=True)
    rate = _number("--rate", args.rate, "events a second, a number greater than 0, such as 50")
    seconds = _number("--seconds", args.seconds, "a number greater than 0, such as 10")
    if rate * seconds > MOST_EVENTS:
        raise Stop(f"--rate times --seconds: at most {MOST_EVENTS:,} events are accounted for", exit_status=2)
    name = uuid4().hex[:8]
    plan = Plan(_address("--url", args.url), (), Target(args.to), rate, seconds, name)
    subscribers = _subscribers(args, settings, plan, int(connections))
    return Plan(plan.address, subscribers, plan.target, rate, seconds, name)


def _number(flag: str, text: str, expected: str, *, whole: bool = False) -> float:
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        value = 0
    if not 0 < value < math.inf:
        raise Stop(f"{flag} {text}: expected {expected}", exit_status=2)
    return value


def _address(flag: str, text: str) -> Address:
    try:
        return Address(text)
    except ValueError as error:
        raise Stop(f"{flag} {hide_password(text)}: {error}", exit_status=2) from None


def _subscribers(args: argparse.Namespace, settings: Settings, plan: Plan, connections: int) -> tuple[Subscriber, ...]:
    if (token := credentials.token_of(args)) is not None:
        return (Subscriber(_user_of(token, plan.seconds), token),) * connections
    users = [f"bench-{number}" for number in range(connections)]
    if (secret := settings.jwt_secret) is None:
        return tuple(map(Subscriber, users))
    ttl = math.ceil(plan.seconds) + CONNECTING_SECONDS
    topics = [plan.topic] if plan.target is Target.TOPIC else []
    return tuple(Subscriber(user, signed(settings, secret, user, ttl=ttl, topics=topics)) for user in users)


def _user_of(token: str, seconds: float) -> str:
    """Whose token it is: the gateway verifies it, here it is only read."""
    try:
        if not re.fullmatch(r"[!-~]+", token):
            raise ValueError
        claims = jwt.decode(token, options={"verify_signature": False})
        user, left = channels.user_id(claims.get("sub")), float(claims.get("exp", math.inf)) - time.time()
    except (jwt.PyJWTError, InvalidEvent, ValueError, TypeError):
        raise Stop("the token is no JWT with a user id as its sub; `gateway token` makes one", exit_status=2) from None
    if left < seconds:
        ends = "has expired" if left <= 0 else f"ends in {left:.0f} s, before the run does"
        raise Stop(f"the token {ends}; `gateway token --ttl SECONDS` makes one that lives longer", exit_status=2)
    return user
