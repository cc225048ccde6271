"""`gateway token`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from typing import Any

import jwt

from .. import channels
from ..config import Settings
from ..setting_kinds import is_scope
from .common import Commands, Stop, declare, settings_of

EXAMPLES = """
    gateway token --user 42
    gateway token --user 42 --topics 'orders.*' news --ttl 600
    curl -N -H "Authorization: Bearer $(gateway token --user 42)" http://127.0.0.1:8080/v1/events
"""


def add(commands: Commands) -> None:
    parser = declare(commands, "token", run, "Make a token for a user, to try things out.", EXAMPLES)
    parser.add_argument("--user", required=True, metavar="ID", help="the user the token is for (sub)")
    parser.add_argument(
        "--topics",
        nargs="+",
        type=_topic_pattern,
        metavar="TOPIC",
        help="topics it may read, such as 'orders.*'",
    )
    parser.add_argument("--ttl", type=_ttl, default=3600, metavar="SECONDS", help="how long it is good (3600)")


def run(args: argparse.Namespace) -> int:
    settings = settings_of(args).settings
    if settings.jwt_secret is None:
        raise Stop(
            "no GATEWAY_JWT_SECRET to sign a token with: `export GATEWAY_JWT_SECRET=$(openssl rand -hex 32)` "
            "here and for the gateway. Where a public key or JWKS verifies tokens, its owner makes them; "
            "a gateway in development mode needs none",
            exit_status=2,
        )
    print(signed(settings, settings.jwt_secret, args.user, ttl=args.ttl, topics=args.topics))
    return 0


def signed(settings: Settings, secret: str, user: str, *, ttl: int, topics: Iterable[str] | None = None) -> str:
    """A token for `user`, good for `ttl` seconds, as a gateway with these settings takes it."""
    now = int(time.time())
    claims: dict[str, Any] = {"sub": channels.user_id(user), "iat": now, "exp": now + ttl}
    optional = {"topics": list(topics or ()), "aud": settings.jwt_audience, "iss": settings.jwt_issuer}
    claims |= {name: value for name, value in optional.items() if value}
    return jwt.encode(claims, secret, algorithm=(settings.jwt_algorithms or ("HS256",))[0])


def _topic_pattern(text: str) -> str:
    if not is_scope(f"topic:{text}"):
        raise argparse.ArgumentTypeError(f"{text!r}: expected *, <prefix>.* or the name of a topic")
    return text


def _ttl(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number of seconds, 1 or more")
    return int(text)
