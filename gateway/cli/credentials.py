"""Who a command listens as: by a token, or by name, for which a token is made where there is a secret to sign with."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..channels import user_id
from ..client.subscriber import Token
from ..config import Settings
from .common import Stop
from .token import signed

TTL = 900
"""Seconds that a token lives that is made for one command; it is made anew as long as that runs."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--token", metavar="TOKEN", help="a subscriber's token")
    parser.add_argument("--token-file", metavar="FILE", help="a file that holds it, read again at each connection")
    parser.add_argument(
        "--jwt-secret", dest="set_jwt_secret", metavar="SECRET",
        help="the gateway's, to make tokens (GATEWAY_JWT_SECRET or GATEWAY_JWT_SECRET_FILE)",
    )  # fmt: skip


def token_of(args: argparse.Namespace) -> str | None:
    """The token that the flags give."""
    given = [args.token, args.token_file, args.set_jwt_secret]
    if sum(value is not None for value in given) > 1:
        raise Stop("--token, --token-file, --jwt-secret: give only one of them", exit_status=2)
    token: str | None = args.token if args.token_file is None else _from_file(args.token_file)
    return token


def refuse_both(args: argparse.Namespace) -> None:
    """There is a token, so there shall be no `--user`."""
    if args.user is not None:
        raise Stop("--user, and a token, which says who its user is: give only one of them", exit_status=2)


def subscriber(args: argparse.Namespace, settings: Settings, topics: Sequence[str]) -> tuple[Token | None, str | None]:
    """What to show, and who to say to be: with `--user`, a token for it if it can be signed, else its name."""
    if (token := token_of(args)) is not None:
        refuse_both(args)
        return (token, None) if args.token_file is None else (_asked_of(args.token_file), None)
    if args.user is None:
        raise Stop(
            "who are you? Give --user 42 (a gateway in development mode, or one whose GATEWAY_JWT_SECRET is set here "
            "too), or --token; `gateway token --user 42` makes one",
            exit_status=2,
        )
    user, secret = user_id(args.user), settings.jwt_secret
    if secret is None:
        return None, user

    async def made() -> str:
        return signed(settings, secret, user, ttl=TTL, topics=topics)

    return made, None


def _asked_of(path: str) -> Token:
    async def ask() -> str:
        return _from_file(path)

    return ask


def _from_file(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or "not ASCII text"
        raise Stop(f"--token-file {path}: cannot be read: {reason}", exit_status=2) from None
