"""Who is asking. Subscribers show a JWT, publishers a key; in development mode neither is needed.

A credential is believed whole or not at all: nothing that fails to verify is served as someone lesser.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from dataclasses import dataclass

import jwt
from aiohttp import web

from ..channels import USER_ID, matches
from ..config import Settings
from ..errors import NotAllowed, NotAuthenticated

COOKIE = "gateway_token"
LEEWAY = 5.0
HMAC_ALGORITHMS = ("HS256", "HS384", "HS512")
TOKENS_REMEMBERED = 50_000


@dataclass(frozen=True, slots=True)
class Subscriber:
    """`topics` are patterns; `expires_at` is seconds since the epoch, None for never (development)."""

    user_id: str
    topics: tuple[str, ...]
    expires_at: float | None = None

    def may_read(self, topic: str) -> bool:
        return any(matches(pattern, topic) for pattern in self.topics)


@dataclass(frozen=True, slots=True)
class Publisher:
    """`scopes` are channels, `*`, or a channel's beginning followed by `*`."""

    name: str
    scopes: tuple[str, ...]

    def require(self, channel: str) -> None:
        """Raise `NotAllowed` unless it may publish there."""
        if not any(_grants(scope, channel) for scope in self.scopes):
            raise NotAllowed(f"the key {self.name!r} may not publish to {channel!r}")


class Subscribers:
    """Verifies subscriber tokens (HS256 by default, with `GATEWAY_JWT_SECRET`).

    What a token said when it verified is remembered, by the token's digest, until it ends: whoever comes back is
    let in for a hundredth of the price.
    """

    def __init__(self, settings: Settings) -> None:
        self._dev = settings.dev
        self._secret = settings.jwt_secret
        self._algorithms = settings.jwt_algorithms or HMAC_ALGORITHMS
        self._audience = settings.jwt_audience
        self._issuer = settings.jwt_issuer
        self._verified_before: dict[bytes, Subscriber] = {}

    def authenticate(self, request: web.Request) -> Subscriber:
        """Raises `NotAuthenticated`. A token that is there must verify, in development mode too."""
        token = bearer(request) or request.cookies.get(COOKIE)
        if token is not None and self._secret is not None:
            return self._remembered(token, self._secret)
        if self._dev:
            return _developer(request)
        raise NotAuthenticated(f"send a token as 'Authorization: Bearer …' or in the cookie {COOKIE}")

    def _remembered(self, token: str, secret: str) -> Subscriber:
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        known = self._verified_before.get(digest)
        if known is not None and known.expires_at is not None and known.expires_at > time.time():
            return known
        verified = self._verified(token, secret)
        if len(self._verified_before) >= TOKENS_REMEMBERED:
            del self._verified_before[next(iter(self._verified_before))]
        self._verified_before[digest] = verified
        return verified

    def _verified(self, token: str, secret: str) -> Subscriber:
        try:
            claims = jwt.decode(
                token,
                secret,
                algorithms=list(self._algorithms),
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY,
                options={"require": ["sub", "exp"], "verify_aud": self._audience is not None},
            )
            expires_at = float(claims["exp"])
        except jwt.ExpiredSignatureError:
            raise NotAuthenticated("the token has expired; get a new one") from None
        except (jwt.PyJWTError, ValueError, OverflowError):  # also bytes that are no text, and an exp beyond any float
            raise NotAuthenticated("the token does not verify") from None
        user_id, topics = claims["sub"], claims.get("topics", [])
        if not isinstance(user_id, str) or USER_ID.fullmatch(user_id) is None:
            raise NotAuthenticated("the token's sub is not a user id")
        if not isinstance(topics, list) or not all(isinstance(pattern, str) for pattern in topics):
            raise NotAuthenticated("the token's topics must be a list of strings")
        return Subscriber(user_id, tuple(topics), expires_at)


class Publishers:
    """Knows the publish keys. Every key is compared in constant time, whichever matches."""

    def __init__(self, settings: Settings) -> None:
        self._open = settings.dev
        self._keys = [(key.key.encode(), Publisher(key.name, key.scopes)) for key in settings.publish_keys]

    def authenticate(self, request: web.Request) -> Publisher:
        """Raises `NotAuthenticated`."""
        shown = (bearer(request) or "").encode("utf-8", "surrogateescape")
        found = None
        for key, publisher in self._keys:
            if hmac.compare_digest(key, shown):
                found = publisher
        if found is not None:
            return found
        if self._open:
            return Publisher("development", ("*",))
        raise NotAuthenticated("send a publish key as 'Authorization: Bearer …'")


def bearer(request: web.Request) -> str | None:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def seconds_left(subscriber: Subscriber) -> float | None:
    """Until the subscriber's token ends, or None when it does not."""
    return None if subscriber.expires_at is None else subscriber.expires_at - time.time()


def _developer(request: web.Request) -> Subscriber:
    user_id = request.query.get("user", "")
    if USER_ID.fullmatch(user_id) is None:
        raise NotAuthenticated("in development mode, say who you are: /v1/events?user=alice")
    return Subscriber(user_id, ("*",))


def _grants(scope: str, channel: str) -> bool:
    return channel.startswith(scope[:-1]) if scope.endswith("*") else scope == channel
