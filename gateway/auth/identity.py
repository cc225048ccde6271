"""What a credential proves, as small plain values: a ticket keeps a `Subscriber` until it is shown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ..channels import USER_ID, matches
from ..errors import NotAllowed, NotAuthenticated
from ..setting_kinds import is_scope

_UNPRINTABLE = re.compile(r"[^!-~]")


@dataclass(frozen=True, slots=True)
class Subscriber:
    """`topics` are patterns; `expires_at` is seconds since the epoch, None for never (no token vouches for it).

    `ticket` is the digest of the ticket that was shown: it must be admitted by the registry, once.
    """

    user_id: str
    topics: tuple[str, ...]
    expires_at: float | None = None
    ticket: str | None = None

    @classmethod
    def of(cls, claims: dict[str, Any]) -> Subscriber:
        """Of a token that verified. Raises `NotAuthenticated`."""
        user_id, topics = claims["sub"], claims.get("topics", [])
        if USER_ID.fullmatch(user_id) is None:
            raise NotAuthenticated("the token's sub is not a user id", reason="claims")
        if not isinstance(topics, list) or not all(isinstance(pattern, str) for pattern in topics):
            raise NotAuthenticated("the token's topics must be a list of strings", reason="claims")
        return cls(user_id, tuple(topics), float(claims["exp"]))

    def may_read(self, topic: str) -> bool:
        return any(matches(pattern, topic) for pattern in self.topics)

    def seconds_left(self, now: float) -> float | None:
        """Until its token ends, or None when it does not."""
        return None if self.expires_at is None else self.expires_at - now


@dataclass(frozen=True, slots=True)
class Publisher:
    """`scopes` are channels, `*`, or a channel's beginning followed by `*`. `name` stands in the log."""

    name: str
    scopes: tuple[str, ...]

    @classmethod
    def of(cls, claims: dict[str, Any]) -> Publisher:
        """Of a token that verified, by `scope` (words, RFC 8693) or `scopes` (a list); other words are not ours.

        The name has a colon, which a key's name has not: no token passes for a key in the log.
        """
        given = claims.get("scope", claims.get("scopes", []))
        words = given.split(" ") if isinstance(given, str) else given
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise NotAuthenticated("the token's scope must be words, or a list of them", reason="claims")
        name = _UNPRINTABLE.sub("?", claims["sub"][:128])
        return cls(f"token:{name}", tuple(word for word in words if is_scope(word)))

    def require(self, channel: str) -> None:
        """Raise `NotAllowed` unless it may publish there."""
        for scope in self.scopes:
            if _grants(scope, channel):
                return
        raise NotAllowed(f"{self.name!r} may not publish to {channel!r}")


def _grants(scope: str, channel: str) -> bool:
    return channel.startswith(scope[:-1]) if scope.endswith("*") else scope == channel
