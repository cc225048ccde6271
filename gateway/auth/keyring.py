"""Where the keys are that tokens are verified with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .keys import Key


class Keyring(Protocol):
    """The keys that are believed now. `generation` changes whenever one of them is not believed any more."""

    @property
    def generation(self) -> int: ...

    def held(self, kid: str | None) -> Sequence[Key]:
        """The keys here that may have signed a token with this `kid`. Asks nobody."""

    async def looked_up(self, kid: str | None) -> Sequence[Key]:
        """The same, when none is held: may ask where keys come from. Raises `KeysUnavailable`."""

    def health(self) -> str | None:
        """Why no token can be verified, or None."""


class FixedKeys:
    """Those of the settings. They have no `kid`, so each may have signed any token."""

    generation = 0

    def __init__(self, keys: Sequence[Key]) -> None:
        self._keys = tuple(keys)

    def held(self, kid: str | None) -> Sequence[Key]:
        return self._keys

    async def looked_up(self, kid: str | None) -> Sequence[Key]:
        return self._keys

    def health(self) -> str | None:
        return None
