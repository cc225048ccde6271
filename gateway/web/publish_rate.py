"""How fast each publisher may publish: a token bucket for each name of a key (or of a token), an event a token.

Rule: what is refused is refused whole, was not published and took nothing. The buckets are this process's own: a
publisher that is spread over four processes has four of them. Every answer says how much there is left, in the fields
of draft-ietf-httpapi-ratelimit-headers-11.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from ..buckets import Buckets
from ..errors import RateLimited

POLICY = "publish"


class PublishRate:
    """`rate` is events a second, above 0; `burst` events at once, and no batch may hold more."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._buckets = Buckets(rate, burst)
        self._clock = clock
        self._policy = f'"{POLICY}";q={burst};w={math.ceil(burst / rate)}'

    def check(self, name: str) -> None:
        """Before the body is read: raise `RateLimited` when not even one event could be published."""
        if wait := self._buckets.wait(name, 1, self._clock()):
            raise self._exceeded(name, wait)

    def take(self, name: str, events: int) -> None:
        """Raises `RateLimited`, and then nothing was taken."""
        if wait := self._buckets.take(name, events, self._clock()):
            raise self._exceeded(name, wait)

    def fields(self, name: str, *, at_most: float = math.inf) -> dict[str, str]:
        """For an answer. What is left is to be spread over the time it takes to come again: that can be kept up.

        `at_most`: seconds after which the publisher is told to come again, which is not before the end of that time.
        """
        left = self._buckets.left(name, self._clock())
        whole = int(left)
        seconds = math.ceil(min((whole or 1 - left) / self._buckets.rate, at_most))
        return {"RateLimit-Policy": self._policy, "RateLimit": f'"{POLICY}";r={whole};t={seconds}'}

    def _exceeded(self, name: str, wait: float) -> RateLimited:
        limit = f"{self._buckets.rate:g} events a second (GATEWAY_PUBLISH_RATE)"
        at_once = f"{self._buckets.burst} at once (GATEWAY_PUBLISH_BURST)"
        fields = self.fields(name, at_most=wait)
        return RateLimited(f"{name!r} publishes more than {limit} and {at_once}", retry_after=wait, headers=fields)
