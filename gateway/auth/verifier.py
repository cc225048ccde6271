"""A token to the claims it proves: signature first, then what it says of its time, audience and issuer."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import NotAuthenticated
from . import token as tokens
from .keyring import Keyring
from .keys import Key

LEEWAY = 5.0
"""Seconds by which an issuer's clock may be ahead (`nbf`, `iat`). `exp` has none: a stream would end as it began."""


class Verifier:
    """Knows `keys`, and what `aud` and `iss` must be (None for anything)."""

    def __init__(
        self,
        keys: Keyring,
        *,
        audience: str | None = None,
        issuer: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.keys = keys
        self.clock = clock
        self._audience = audience
        self._issuer = issuer

    async def claims(self, token: str) -> dict[str, Any]:
        """What the token says. `sub` is a string and `exp` a number. Raises `NotAuthenticated`, `KeysUnavailable`."""
        shown = tokens.read(token)
        keys = self.keys.held(shown.kid) or await self.keys.looked_up(shown.kid)
        _check_signature(shown, keys)
        claims = tokens.json_object(shown.payload)
        _check_time(claims, self.clock())
        if self._audience is not None and not _names(claims.get("aud"), self._audience):
            raise NotAuthenticated("the token is for another audience (aud)", reason="audience")
        if self._issuer is not None and claims.get("iss") != self._issuer:
            raise NotAuthenticated("the token is of another issuer (iss)", reason="issuer")
        if not isinstance(claims.get("sub"), str):
            raise NotAuthenticated("the token needs a sub, a string", reason="claims")
        return claims


def _check_signature(shown: tokens.Unverified, keys: Sequence[Key]) -> None:
    if not keys:
        raise NotAuthenticated("the token's kid is of no key that is known here", reason="unknown_key")
    if not any(shown.algorithm in key.algorithms for key in keys):
        raise NotAuthenticated("the token's alg is not one that is accepted here", reason="algorithm")
    if not any(key.verifies(shown.algorithm, shown.signed, shown.signature) for key in keys):
        raise NotAuthenticated(
            "the token's signature does not verify: it was signed with another key than this gateway's",
            reason="signature",
        )


def _check_time(claims: dict[str, Any], now: float) -> None:
    if (expires_at := _moment(claims, "exp")) is None:
        raise NotAuthenticated("the token needs an exp, the seconds since the epoch at which it ends", reason="claims")
    if expires_at <= now:
        raise NotAuthenticated(f"the token has expired, {now - expires_at:.0f} s ago; get a new one", reason="expired")
    for name in ("nbf", "iat"):
        since = _moment(claims, name)
        if since is not None and since > now + LEEWAY:
            raise NotAuthenticated(f"the token is not valid yet ({name}); are the clocks right?", reason="not_yet")


def _moment(claims: dict[str, Any], name: str) -> float | None:
    if name not in claims:
        return None
    value = claims[name]
    try:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    except OverflowError:  # an integer beyond any float
        pass
    raise NotAuthenticated(f"the token's {name} is no moment in seconds since the epoch", reason="claims")


def _names(audience: object, wanted: str) -> bool:
    return audience == wanted or (isinstance(audience, list) and wanted in audience)
