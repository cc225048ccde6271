"""`gateway tail`: a stream, printed as it comes. Events go to stdout; what happens to the stream, to stderr."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import time

import structlog

from ..client import Event, Gap, NoGateway, NotAllowed, NotAuthenticated, State, subscribe
from ..errors import GatewayError
from ..ids import parse_cursor
from . import credentials
from .common import DEFAULT_URL, Commands, Stop, count, declare, settings_of
from .terminal import Pen, printable

ABOUT = """
Comes back after any end, from the event it printed last, until Ctrl-C. A stream that cannot be had at the beginning
is an error. Reconnects and gaps (events that may be lost) are told on stderr.

Exit status: 0 --count is reached, 1 the stream was refused or ended for good, 2 the arguments cannot be right.
"""
EXAMPLES = """
    gateway tail --user 42                                           a gateway in development mode
    gateway tail --user 42 --from earliest                           all that is kept, then what comes
    gateway tail --url https://events.example.com --token-file token --topic orders.eu --types 'order.*'
    gateway tail --user 42 --json --count 1 | jq .data               the next event's data
"""


def add(commands: Commands) -> None:
    parser = declare(commands, "tail", run, "Print a stream of events, and come back to it.", EXAMPLES, more=ABOUT)
    parser.add_argument("--url", default=DEFAULT_URL, metavar="URL", help=f"the gateway ({DEFAULT_URL})")
    parser.add_argument("--user", metavar="ID", help="whose events")
    credentials.add_flags(parser)
    parser.add_argument("--topic", action="append", default=[], metavar="TOPIC", help="and this topic; repeatable")
    parser.add_argument("--types", metavar="TYPES", help="only these event types, such as 'order.*,sync.done'")
    parser.add_argument(
        "--from", dest="cursor", default="", metavar="ID", help="what came after this event id; earliest is all"
    )
    parser.add_argument("--count", type=count, metavar="N", help="end after so many events")
    parser.add_argument("--json", action="store_true", help="a JSON object a line: id, type, data")


def run(args: argparse.Namespace) -> int:
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))  # told by `_Told`
    try:
        return asyncio.run(_tail(args))
    finally:
        structlog.configure(**before)


async def _tail(args: argparse.Namespace) -> int:
    settings = settings_of(args).settings
    token, user = credentials.subscriber(args, settings, args.topic)
    told, printer = _Told(args.url), _as_json if args.json else _Lines()
    try:
        events = subscribe(
            *(args.url, token),
            topics=args.topic,
            types=(args.types or "").split(",") if args.types else (),
            last_event_id=args.cursor,
            user=user,
            on_state=told.state,
        )
    except ValueError as error:
        raise Stop(_flag(str(error)), exit_status=2) from None
    left = args.count
    try:
        async with events:
            async for event in events:
                if isinstance(event, Gap):
                    told.gap(event)
                    if not args.json:
                        continue
                print(printer(event), flush=True)
                left = left and left - 1
                if left == 0:
                    return 0
    except Stop:
        raise
    except GatewayError as error:
        raise Stop(_advice(error, args.url, with_token=token is not None)) from None
    raise Stop(f"{args.url}: {told.last.reason}")


class _Told:
    """What happens to the stream, for people."""

    def __init__(self, url: str) -> None:
        self.last = State("connecting")
        self._url = url
        self._pen = Pen(sys.stderr)
        self._was_open = False

    def state(self, state: State) -> None:
        self.last = state
        if state.name == "open":
            self._say(self._pen.green("connected") + f" to {self._url}")
            self._was_open = True
        elif state.name == "waiting":
            if not self._was_open:
                raise Stop(_not_there(state.reason, self._url))
            self._say(self._pen.yellow(state.reason) + f"; again in {state.retry_in:.1f} s")

    def gap(self, gap: Gap) -> None:
        kept = f"kept is what follows {gap.oldest}" if gap.oldest else "nothing is kept"
        self._say(self._pen.red("gap") + f": events after {printable(gap.requested or '?')} may be lost; {kept}")

    def _say(self, text: str) -> None:
        print(f"gateway: {text}", file=sys.stderr, flush=True)


class _Lines:
    """A line an event: when it was published, its id, its type, its data."""

    def __init__(self) -> None:
        self._pen = Pen(sys.stdout)

    def __call__(self, event: Event) -> str:
        id = parse_cursor(event.id or "")
        ms = int(time.time() * 1000) if id is None else id.ms
        at = f"{time.strftime('%H:%M:%S', time.localtime(ms // 1000))}.{ms % 1000:03}"
        head = self._pen.dim(f"{at} {printable(event.id or '-')}")
        return f"{head} {self._pen.bold(printable(event.type))} {printable(event.data)}"


def _as_json(event: Event) -> str:
    try:
        data = event.json()
    except ValueError:
        data = event.data
    return json.dumps({"id": event.id, "type": event.type, "data": data})


def _not_there(reason: str, url: str) -> str:
    if reason.startswith("cannot connect"):
        return f"{url}: {reason}; start a gateway there with `gateway serve --dev`, or give another --url"
    if "HTTP" in reason or "without an answer" in reason:
        return f"{url}: {reason}; is it a gateway's address and port?"
    return f"{url}: {reason}"


def _advice(error: GatewayError, url: str, *, with_token: bool) -> str:
    match error:
        case NotAuthenticated() if with_token:
            return f"{url}: 401 {error}; `gateway token --user 42` makes one, with this gateway's GATEWAY_JWT_SECRET"
        case NotAuthenticated():
            return f"{url}: 401 {error}; give --token, or set the gateway's GATEWAY_JWT_SECRET here too beside --user"
        case NotAllowed():
            return f"{url}: 403 {error}; take a token with these topics (`gateway token --topics`), or other --topic"
        case NoGateway():
            return f"{url}: {error}"
    return f"{url}: {error.status} {error}"


def _flag(problem: str) -> str:
    """`last_event_id: …` -> `--from: …`."""
    name, _, rest = problem.partition(": ")
    return f"--{'from' if name == 'last_event_id' else name}: {rest}"
