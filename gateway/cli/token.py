"""`gateway token`."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from .. import channels
from ..auth import keys
from ..config import Settings
from ..setting_kinds import is_scope
from .common import Commands, Stop, count, declare, settings_of

EXAMPLES = """
    gateway token --user 42
    gateway token --user 42 --topics 'orders.*' news --ttl 600
    gateway token --user 42 --private-key-file key.pem --kid 2026-11
    gateway token --user billing --scope 'user:*' broadcast
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
    parser.add_argument(
        "--scope",
        nargs="+",
        default=(),
        type=_scope,
        metavar="CHANNEL",
        help="channels it may publish to, such as 'user:*'",
    )
    parser.add_argument(
        "--private-key-file",
        metavar="PEM",
        help="the private key of GATEWAY_JWT_PUBLIC_KEY or of a JWKS, in place of GATEWAY_JWT_SECRET",
    )
    parser.add_argument("--kid", help="with --private-key-file: the name of the key in the JWKS")
    parser.add_argument("--ttl", type=count, default=3600, metavar="SECONDS", help="how long it is good (3600)")
    parser.add_argument("--json", action="store_true", help="as JSON: the token, and what it says")


def run(args: argparse.Namespace) -> int:
    settings = settings_of(args).settings
    said = _claims(settings, args.user, ttl=args.ttl, topics=args.topics, scope=args.scope)
    token = _signed(args, settings, said)
    print(json.dumps({"token": token, "claims": said}) if args.json else token)
    return 0


def _signed(args: argparse.Namespace, settings: Settings, claims: dict[str, Any]) -> str:
    if args.private_key_file is not None:
        return _signed_with_file(settings, args.private_key_file, claims, args.kid)
    if settings.jwt_secret is None:
        raise Stop(
            "no GATEWAY_JWT_SECRET to sign a token with: `export GATEWAY_JWT_SECRET=$(openssl rand -hex 32)` "
            "here and for the gateway. Where a public key or JWKS verifies tokens, sign with --private-key-file; "
            "a gateway in development mode needs none",
            exit_status=2,
        )
    return _signed_with_secret(settings, settings.jwt_secret, claims)


def signed(settings: Settings, secret: str, user: str, *, ttl: int, topics: Iterable[str] | None = None) -> str:
    """A token for `user`, good for `ttl` seconds, as a gateway with these settings takes it."""
    return _signed_with_secret(settings, secret, _claims(settings, user, ttl=ttl, topics=topics))


def _claims(
    settings: Settings, user: str, *, ttl: int, topics: Iterable[str] | None, scope: Iterable[str] = ()
) -> dict[str, Any]:
    now = int(time.time())
    claims: dict[str, Any] = {"sub": channels.user_id(user), "iat": now, "exp": now + ttl}
    optional = {
        "topics": list(topics or ()),
        "scope": " ".join(scope),
        "aud": settings.jwt_audience,
        "iss": settings.jwt_issuer,
    }
    return claims | {name: value for name, value in optional.items() if value}


def _signed_with_secret(settings: Settings, secret: str, claims: dict[str, Any]) -> str:
    return jwt.encode(claims, secret, algorithm=(settings.jwt_algorithms or ("HS256",))[0])


def _signed_with_file(settings: Settings, path: str, claims: dict[str, Any], kid: str | None) -> str:
    """The first algorithm that the gateway accepts of those that the key is for; RS256 of an RSA key."""
    try:
        key: Any = load_pem_private_key(Path(path).read_bytes(), password=None)
        algorithms = keys.of_public(key.public_key(), settings.jwt_algorithms).algorithms
    except OSError as error:
        raise Stop(f"--private-key-file: {path} cannot be read: {error.strerror}", exit_status=2) from None
    except keys.Unusable as why:
        raise Stop(f"--private-key-file: {path} {why}", exit_status=2) from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise Stop(f"--private-key-file: {path} holds no private key in PEM form, without a password", 2) from None
    preferred = [*settings.jwt_algorithms, "RS256", *sorted(algorithms)]
    algorithm = next(name for name in preferred if name in algorithms)
    return jwt.encode(claims, key, algorithm=algorithm, headers=None if kid is None else {"kid": kid})


def _topic_pattern(text: str) -> str:
    if not is_scope(f"topic:{text}"):
        raise argparse.ArgumentTypeError(f"{text!r}: expected *, <prefix>.* or the name of a topic")
    return text


def _scope(text: str) -> str:
    if not is_scope(text):
        raise argparse.ArgumentTypeError(
            f"{text!r}: expected *, broadcast, user:<id>, user:*, topic:<name> or the like"
        )
    return text
