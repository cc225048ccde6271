"""The keys of a JWK Set at a URL: fetched, kept, and refreshed in the background.

What was fetched serves until something better was: an endpoint that is away, slow or answers nonsense takes no key
away. A `kid` that is not known has the set fetched once, together with all who ask meanwhile, and then not again for
`COOLDOWN`: strangers can name as many as they like. How a URL is fetched, `web/jwks_endpoint.py` knows.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Collection, Sequence

import structlog

from ..errors import KeysUnavailable
from .keys import Key, Unusable, of_jwk

COOLDOWN = 10.0
"""Seconds between two fetches for the sake of an unknown `kid`."""
RETRY = (1.0, 30.0)
"""Seconds before a fetch that failed is tried again: at first, and at most."""
MOST_KEYS = 32
"""Keys that are taken from a set; a token without `kid` may have to be tried with each."""

log = structlog.get_logger(__name__)


class FetchFailed(Exception):
    """`outcome` is the word that it is counted under; the text says more."""

    def __init__(self, outcome: str, why: str) -> None:
        super().__init__(why)
        self.outcome = outcome


class Jwks:
    """A `Keyring`. `fetch` gives the document or raises `FetchFailed`; `count` is told each outcome."""

    def __init__(
        self,
        fetch: Callable[[], Awaitable[bytes]],
        *,
        refresh: float,
        allowed: Collection[str] = (),
        count: Callable[[str], None] = lambda outcome: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.generation = 0
        self._fetch = fetch
        self._refresh = refresh
        self._allowed = allowed
        self._count = count
        self._clock = clock
        self._keys: tuple[Key, ...] = ()
        self._by_kid: dict[str | None, tuple[Key, ...]] = {}
        self._fetching: asyncio.Task[bool] | None = None
        self._failure: str | None = "not fetched yet"
        self._looked_up = float("-inf")
        self._next = clock()

    async def run(self) -> None:
        """Fetch now, and again every `refresh` seconds, or sooner as long as it fails. Until cancelled."""
        first, most = RETRY
        pause = first
        try:
            while True:
                if await self._fetched():
                    pause, wait = first, self._refresh * random.uniform(0.9, 1)
                else:
                    pause, wait = min(pause * 2, most), min(pause, self._refresh)
                self._next = self._clock() + wait
                await asyncio.sleep(wait)
        finally:
            if self._fetching is not None:
                self._fetching.cancel()
                await asyncio.gather(self._fetching, return_exceptions=True)

    def held(self, kid: str | None) -> Sequence[Key]:
        if kid is None:
            return self._keys
        return self._by_kid.get(kid, ()) + self._by_kid.get(None, ())

    async def looked_up(self, kid: str | None) -> Sequence[Key]:
        if self._fetching is not None:
            await self._fetched()
        # The one under way may have been asked before the issuer had the key: then there is one more.
        if self._fetching is not None and not self.held(kid):
            await self._fetched()
        elif self._keys and not self.held(kid) and self._clock() - self._looked_up >= COOLDOWN:
            self._looked_up = self._clock()
            await self._fetched()
        if not (keys := self.held(kid)) and self._failure is not None:
            wait = max(self._next - self._clock(), 1.0) if not self._keys else COOLDOWN
            raise KeysUnavailable("the keys that verify tokens cannot be fetched now", retry_after=wait)
        return keys

    def health(self) -> str | None:
        return None if self._keys else f"no keys: {self._failure}"

    async def _fetched(self) -> bool:
        """Fetch, or wait for the fetch under way; whether it gave keys. Being cancelled ends no fetch."""
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch_and_take(), name="jwks fetch")
            self._fetching.add_done_callback(self._fetch_ended)
        return await asyncio.shield(self._fetching)

    def _fetch_ended(self, task: asyncio.Task[bool]) -> None:
        self._fetching = None

    async def _fetch_and_take(self) -> bool:
        try:
            keys = read(await self._fetch(), self._allowed)
        except FetchFailed as failure:
            self._failure = str(failure)
            self._count(failure.outcome)
            log.warning("jwks.failed", outcome=failure.outcome, why=self._failure, keys_kept=len(self._keys))
            return False
        self._count("ok")
        self._take(keys)
        return True

    def _take(self, keys: tuple[Key, ...]) -> None:
        gone = [key for key in self._keys if key not in keys]
        if gone or len(keys) != len(self._keys) or self._failure is not None:
            log.info("jwks.fetched", keys=len(keys), gone=len(gone))
        self.generation += bool(gone)
        self._keys, self._failure = keys, None
        self._by_kid = {kid: tuple(key for key in keys if key.kid == kid) for kid in {key.kid for key in keys}}


def read(document: bytes, allowed: Collection[str] = ()) -> tuple[Key, ...]:
    """The keys of a JWK Set that tokens may be verified with. Raises `FetchFailed` when it has none."""
    try:
        jwks = json.loads(document)
    except (ValueError, RecursionError):
        raise FetchFailed("invalid", "the answer is not JSON") from None
    given = jwks.get("keys") if isinstance(jwks, dict) else None
    if not isinstance(given, list):
        raise FetchFailed("invalid", "the answer is no JWK Set: an object with a list of keys")
    if len(given) > MOST_KEYS:
        raise FetchFailed("invalid", f"the answer holds {len(given)} keys; at most {MOST_KEYS} are taken")
    keys, reasons = [], []
    for index, jwk in enumerate(given):
        try:
            keys.append(of_jwk(jwk, allowed))
        except Unusable as why:
            reasons.append(f"keys[{index}] {why}")
    if not keys:
        raise FetchFailed("invalid", "; ".join(["the answer holds no key to verify tokens with", *reasons[:3]]))
    if reasons:
        log.debug("jwks.left_out", reasons=reasons)
    return tuple(keys)
