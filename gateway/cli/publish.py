"""`gateway publish`."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import Any, NoReturn
from urllib.parse import quote

import aiohttp

from .. import channels
from ..client import answers
from ..setting_kinds import hide_password
from .common import DEFAULT_URL, Commands, Stop, declare, settings_of

PUBLISH_BUDGET = aiohttp.ClientTimeout(total=10)
EXAMPLES = """
    gateway publish --user 42 --type greeting '{"text": "hello"}'
    gateway publish --broadcast --type maintenance '{"minutes": 5}'
    gateway publish --topic orders.eu --type order.paid --key-field order-7 '{"order": 7}'
    jq .report results.json | gateway publish --user 42 --type report.ready -
"""


def add(commands: Commands) -> None:
    parser = declare(commands, "publish", run, "Publish one event to a running gateway.", EXAMPLES)
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--user", metavar="ID", help="to one user")
    target.add_argument("--broadcast", action="store_true", help="to everyone")
    target.add_argument("--topic", metavar="TOPIC", help="to whoever reads this topic")
    parser.add_argument("--type", required=True, dest="event_type", metavar="TYPE", help="such as order.paid")
    parser.add_argument("data", nargs="?", metavar="DATA", help="the event's data, JSON; - reads standard input")
    parser.add_argument(
        "--id", dest="event_id", metavar="ID", help="your own id of it: sent again with the same, it is published once"
    )
    parser.add_argument(
        "--key-field", dest="event_key", metavar="KEY", help="of events with this key only the newest matters"
    )
    parser.add_argument(
        "--url", dest="set_publisher_url", metavar="URL",
        help="the gateway (GATEWAY_PUBLISHER_URL, or http://127.0.0.1:8080)",
    )  # fmt: skip
    parser.add_argument(
        "--publish-key", "--key", dest="set_publisher_key", metavar="KEY",
        help="a publisher key (GATEWAY_PUBLISHER_KEY or GATEWAY_PUBLISHER_KEY_FILE)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the gateway's answer as it is")


def run(args: argparse.Namespace) -> int:
    event: dict[str, Any] = {"event_type": args.event_type, "data": _data(args.data)}
    given = {"id": args.event_id, "key": args.event_key}
    event |= {name: value for name, value in given.items() if value is not None}
    settings = settings_of(args).settings
    base = settings.publisher_url or DEFAULT_URL
    if not base.startswith(("http://", "https://")):
        raise Stop(
            f"`gateway publish` speaks HTTP and cannot use {hide_password(base)}: "
            "give a gateway's address, for example --url http://127.0.0.1:8080",
            exit_status=2,
        )
    answer = asyncio.run(_post(base.rstrip("/"), _path(args), event, settings.publisher_key))
    print(json.dumps(answer) if args.json else _sentence(answer))
    return 0


def _data(argument: str | None) -> Any:
    piped = argument == "-" or (argument is None and not sys.stdin.isatty())
    try:
        text = sys.stdin.read() if piped else argument
        return json.loads(text or "{}", parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Stop(f"DATA is not JSON: {error}", exit_status=2) from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _path(args: argparse.Namespace) -> str:
    if args.user is not None:
        return f"/v1/users/{quote(channels.user_id(args.user))}/events"
    if args.topic is not None:
        return f"/v1/topics/{quote(channels.topic(args.topic).removeprefix('topic:'))}/events"
    return "/v1/broadcast"


async def _post(base: str, path: str, event: dict[str, Any], key: str | None) -> dict[str, Any]:
    """The gateway's answer to `event`. Raises `Stop` with a line that says what to do."""
    from ..client.http import in_words

    headers = {"Authorization": f"Bearer {key}"} if key else {}
    there = hide_password(base)
    try:
        async with (
            aiohttp.ClientSession(timeout=PUBLISH_BUDGET) as session,
            session.post(base + path, json=event, headers=headers, allow_redirects=False) as response,
        ):
            status, body = response.status, await response.read()
            kind, reason = response.headers.get("Content-Type"), response.reason or ""
    except aiohttp.ClientConnectorError as error:
        raise Stop(
            f"{there}: {in_words(error)}; start a gateway there with `gateway serve --dev`, "
            "or give another address with --url or GATEWAY_PUBLISHER_URL"
        ) from None
    except TimeoutError:
        raise Stop(f"{there}: no answer within {PUBLISH_BUDGET.total:g} s") from None
    except (aiohttp.ClientError, OSError) as error:
        raise Stop(f"{there}: {in_words(error)}; is it a gateway's address and port?") from None

    if not 200 <= status < 300:
        raise Stop(f"{there}: {_refusal(status, reason, answers.problem(kind, body), key)}")
    answer = _json_object(body)
    if "receivers" not in answer:
        raise Stop(f"{there}: answered {status}, but not as a gateway does: is it the right address?")
    return answer


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _refusal(status: int, reason: str, said: answers.Problem, key: str | None) -> str:
    """What the gateway said, and what to do about it, in one line."""
    told = ": ".join(filter(None, (f"{status} {said.title or reason}", said.field, said.detail)))
    match status:
        case 401 if key is None:
            return f"{told}; give a publisher key with --publish-key or GATEWAY_PUBLISHER_KEY"
        case 401:
            return f"{told}; the gateway takes the keys of its GATEWAY_PUBLISH_KEYS, or of GATEWAY_PUBLISH_KEYS_FILE"
        case 403:
            return f"{told}; what a key may is said in GATEWAY_PUBLISH_KEYS, what a token may in its scope"
        case 404 | 405 if not said.detail:
            return f"{told}; publish to a gateway's own address, or to its GATEWAY_INTERNAL_PORT if it has one"
        case 503:
            return f"{told}; its /readyz says more. Send it again with --id, and it is published once"
    return told


def _sentence(answer: dict[str, Any]) -> str:
    what = f"published {answer['id']}" if answer.get("id") else "published, not retained"
    match answer["receivers"]:
        case 0:
            waits = ", so it waits in the history" if answer.get("id") else ""
            return f"{what}; nobody is online for it{waits}"
        case 1:
            return f"{what}; 1 gateway process has somebody online for it"
        case count:
            return f"{what}; {count} gateway processes have somebody online for it"
