"""The command line. Each command is a function from parsed arguments to an exit status.

0 is done, 1 is that something out there said no, 2 is that what was asked for cannot be right. What went
wrong is said on stderr, a line each that starts with `gateway: `; stdout holds the answer and nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterable
from textwrap import dedent, indent
from typing import Any, NoReturn
from urllib.parse import quote

import aiohttp
import jwt

from . import channels
from .config import SETTINGS, ConfigError, Loaded, env_name, load, shown
from .errors import GatewayError, InvalidEvent
from .setting_kinds import hide_password, is_scope

PUBLISH_BUDGET = aiohttp.ClientTimeout(total=10)


class Stop(GatewayError):
    """Ends a command with one line for people and `exit_status`."""

    def __init__(self, detail: str, exit_status: int = 1) -> None:
        super().__init__(detail)
        self.exit_status = exit_status


def main(argv: list[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    try:
        status: int = args.run(args)
        return status
    except ConfigError as error:
        return _complain(error.problems, 2)
    except InvalidEvent as error:
        return _complain([str(error)], 2)
    except Stop as error:
        return _complain([error.detail], error.exit_status)
    except KeyboardInterrupt:
        return 130


def _complain(problems: Iterable[str], status: int) -> int:
    for problem in problems:
        print(f"gateway: {problem}", file=sys.stderr)
    return status


# --- serve


def _serve(args: argparse.Namespace) -> int:
    loaded = _load(args, serve=True)
    from .app import run  # the other commands do without the server

    run(loaded.settings, warnings=loaded.warnings)
    return 0


# --- config


def _config(args: argparse.Namespace) -> int:
    loaded = _load(args)
    _complain(loaded.warnings, 0)
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


# --- token


def _token(args: argparse.Namespace) -> int:
    settings = _load(args).settings
    if settings.jwt_secret is None:
        raise Stop(
            "no GATEWAY_JWT_SECRET to sign a token with: `export GATEWAY_JWT_SECRET=$(openssl rand -hex 32)` "
            "here and for the gateway. Where a public key or JWKS verifies tokens, its owner makes them; "
            "a gateway in development mode needs none",
            exit_status=2,
        )
    now = int(time.time())
    claims: dict[str, Any] = {"sub": channels.user_id(args.user), "iat": now, "exp": now + args.ttl}
    optional = {"topics": args.topics, "aud": settings.jwt_audience, "iss": settings.jwt_issuer}
    claims |= {name: value for name, value in optional.items() if value}
    print(jwt.encode(claims, settings.jwt_secret, algorithm=(settings.jwt_algorithms or ("HS256",))[0]))
    return 0


def _topic_pattern(text: str) -> str:
    if not is_scope(f"topic:{text}"):
        raise argparse.ArgumentTypeError(f"{text!r}: expected *, <prefix>.* or the name of a topic")
    return text


def _ttl(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number of seconds, 1 or more")
    return int(text)


# --- publish


def _publish(args: argparse.Namespace) -> int:
    event = {"event_type": args.event_type, "data": _data(args.data)}
    if args.event_key is not None:
        event["key"] = args.event_key
    settings = _load(args).settings
    base = settings.publisher_url or "http://127.0.0.1:8080"
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
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    there = hide_password(base)
    try:
        async with (
            aiohttp.ClientSession(timeout=PUBLISH_BUDGET) as session,
            session.post(base + path, json=event, headers=headers, allow_redirects=False) as response,
        ):
            status, reason, body = response.status, response.reason, await response.read()
    except aiohttp.ClientConnectorError as error:
        raise Stop(
            f"cannot connect to {there} ({error.strerror or error}): start a gateway there with "
            "`gateway serve --dev`, or give another address with --url or GATEWAY_PUBLISHER_URL"
        ) from None
    except TimeoutError:
        raise Stop(f"{there} did not answer within {PUBLISH_BUDGET.total:g} s") from None
    except (aiohttp.ClientError, ValueError) as error:
        raise Stop(f"{there}: {type(error).__name__}: {hide_password(str(error))}") from None

    answer = _json_object(body)
    if not 200 <= status < 300:
        raise Stop(_problem(status, reason or "", answer))
    if "receivers" not in answer:
        raise Stop(f"{there} answered {status}, but not as a gateway does: is it the right address?")
    return answer


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _problem(status: int, reason: str, answer: dict[str, Any]) -> str:
    """One line for an RFC 9457 problem, or for the bare status when there is none."""
    field = f"{answer['field']}: " if answer.get("field") else ""
    detail = f": {field}{answer['detail']}" if answer.get("detail") else ""
    hint = "; give a publisher key with --key or GATEWAY_PUBLISHER_KEY" if status == 401 else ""
    return f"{status} {answer.get('title', reason)}{detail}{hint}"


def _sentence(answer: dict[str, Any]) -> str:
    what = f"published {answer['id']}" if answer.get("id") else "published, not retained"
    match answer["receivers"]:
        case 0:
            return f"{what}; nobody is online for it"
        case 1:
            return f"{what}; 1 gateway process has somebody online for it"
        case count:
            return f"{what}; {count} gateway processes have somebody online for it"


# --- arguments


def _load(args: argparse.Namespace, *, serve: bool = False) -> Loaded:
    """The settings in force. A flag whose `dest` is `set_<setting>` gives that one, `--set` any other."""
    given = {name: getattr(args, f"set_{name}", None) for name in SETTINGS}
    flags = {name: value for name, value in given.items() if value is not None} | dict(args.set)
    return load(flags, config_file=args.config, dev=getattr(args, "dev", False), serve=serve)


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r}: expected NAME=VALUE, for example retention=off")
    return name, value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gateway",
        description="A Server-Sent-Events gateway.",
        epilog="`gateway COMMAND --help` shows examples of each.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(run: Callable[[argparse.Namespace], int], help: str, examples: str) -> argparse.ArgumentParser:
        new = commands.add_parser(
            run.__name__.strip("_"),
            help=help,
            description=help,
            epilog="examples:\n" + indent(dedent(examples).strip(), "  "),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        new.add_argument("--config", metavar="FILE", help="TOML file of settings")
        new.add_argument(
            "--set", action="append", default=[], type=_assignment, metavar="NAME=VALUE",
            help="any setting, over environment and file; `gateway config` lists them",
        )  # fmt: skip
        new.set_defaults(run=run)
        return new

    _add_server_flags(command(_serve, "Run the gateway.", """
        gateway serve --dev                                   try it out, no settings needed
        gateway serve --config gateway.toml --port 80
        gateway serve --broker-url redis://127.0.0.1:6379/0 --workers 4 --set retention_ttl=86400
    """))  # fmt: skip
    config = command(_config, "Print the settings in force, and where each comes from.", """
        gateway config
        gateway config --config gateway.toml --json
    """)  # fmt: skip
    _add_server_flags(config)
    config.add_argument("--json", action="store_true", help="as JSON")
    _add_token_flags(command(_token, "Make a token for a user, to try things out.", """
        gateway token --user 42
        gateway token --user 42 --topics 'orders.*' news --ttl 600
        curl -N -H "Authorization: Bearer $(gateway token --user 42)" http://127.0.0.1:8080/v1/events
    """))  # fmt: skip
    _add_publish_flags(command(_publish, "Publish one event to a running gateway.", """
        gateway publish --user 42 --type greeting '{"text": "hello"}'
        gateway publish --broadcast --type maintenance '{"minutes": 5}'
        gateway publish --topic orders.eu --type order.paid --key-field order-7 '{"order": 7}'
        jq .report results.json | gateway publish --user 42 --type report.ready -
    """))  # fmt: skip
    return parser


def _add_server_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dev", action="store_true", help="development mode: loopback only, no tokens")
    for name in ("host", "port", "broker_url", "workers", "log_level", "log_format"):
        flag, metavar = "--" + name.replace("_", "-"), name.rpartition("_")[2].upper()
        parser.add_argument(flag, dest=f"set_{name}", metavar=metavar, help=SETTINGS[name].help)


def _add_token_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--user", required=True, metavar="ID", help="the user the token is for (sub)")
    parser.add_argument(
        "--topics",
        nargs="+",
        type=_topic_pattern,
        metavar="TOPIC",
        help="topics it may read, such as 'orders.*'",
    )
    parser.add_argument("--ttl", type=_ttl, default=3600, metavar="SECONDS", help="how long it is good (3600)")


def _add_publish_flags(parser: argparse.ArgumentParser) -> None:
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--user", metavar="ID", help="to one user")
    target.add_argument("--broadcast", action="store_true", help="to everyone")
    target.add_argument("--topic", metavar="TOPIC", help="to whoever reads this topic")
    parser.add_argument("--type", required=True, dest="event_type", metavar="TYPE", help="such as order.paid")
    parser.add_argument("data", nargs="?", metavar="DATA", help="the event's data, JSON; - reads standard input")
    parser.add_argument(
        "--key-field", dest="event_key", metavar="KEY", help="of events with this key only the newest matters"
    )
    parser.add_argument(
        "--url", dest="set_publisher_url", metavar="URL",
        help="the gateway (GATEWAY_PUBLISHER_URL, or http://127.0.0.1:8080)",
    )  # fmt: skip
    parser.add_argument(
        "--key", dest="set_publisher_key", metavar="KEY", help="a publisher key (GATEWAY_PUBLISHER_KEY)"
    )
    parser.add_argument("--json", action="store_true", help="print the gateway's answer as it is")
