"""What tokens said when they verified, by digest, until they end: whoever comes back is let in for a tenth.

All is forgotten when a key is believed no longer: what it signed must be judged anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from .verifier import Verifier

T = TypeVar("T")

REMEMBERED = 50_000


class Remembering(Generic[T]):
    """Tokens to what `made_of` makes of their claims; it may raise `NotAuthenticated` too.

    At most `REMEMBERED` tokens; the one remembered for the longest goes first.
    """

    def __init__(self, verifier: Verifier, made_of: Callable[[dict[str, Any]], T]) -> None:
        self._verifier = verifier
        self._made_of = made_of
        self._generation = verifier.keys.generation
        self._known: dict[bytes, tuple[T, float]] = {}

    async def believe(self, token: str) -> T:
        """Raises `NotAuthenticated`, `KeysUnavailable`."""
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        self._forget_what_is_not_believed()
        known = self._known.get(digest)
        if known is not None and known[1] > self._verifier.clock():
            return known[0]
        claims = await self._verifier.claims(token)
        value = self._made_of(claims)
        self._forget_what_is_not_believed()  # the keys may have changed while one was looked up
        if digest not in self._known and len(self._known) >= REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[digest] = (value, float(claims["exp"]))
        return value

    def _forget_what_is_not_believed(self) -> None:
        generation = self._verifier.keys.generation
        if self._generation != generation:
            self._generation = generation
            self._known.clear()
