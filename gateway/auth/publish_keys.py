"""The keys that publishers show: several at a time, each with a name and scopes.

A key is looked up by its MAC (keyed BLAKE2, RFC 7693) under a secret of this process. What the time of that says is
about a MAC that nobody outside can compute: nothing about a key, which of them it is, or how many there are.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable

from ..setting_kinds import PublishKey
from .identity import Publisher


class PublishKeys:
    def __init__(self, keys: Iterable[PublishKey]) -> None:
        self._salt = secrets.token_bytes(hashlib.blake2s.MAX_KEY_SIZE)
        self._publishers: dict[bytes, Publisher] = {}
        self.replace(keys)

    def __bool__(self) -> bool:
        return bool(self._publishers)

    @property
    def names(self) -> list[str]:
        return [publisher.name for publisher in self._publishers.values()]

    def replace(self, keys: Iterable[PublishKey]) -> None:
        """From now on these, and no others."""
        self._publishers = {self._digest(key.key): Publisher(key.name, key.scopes) for key in keys}

    def find(self, shown: str) -> Publisher | None:
        return self._publishers.get(self._digest(shown))

    def _digest(self, key: str) -> bytes:
        return hashlib.blake2s(key.encode("utf-8", "surrogateescape"), key=self._salt).digest()
