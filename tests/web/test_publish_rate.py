"""How fast a publisher may publish, and what it is told."""

from __future__ import annotations

import asyncio
import math
import re
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from web.inprocess import JSON, SECRET, Served, bearer, claims, kept, post, served, token

from gateway.config import PublishKey
from gateway.errors import RateLimited
from gateway.telemetry.sparing import Sparing
from gateway.web import publish_log
from gateway.web.publish_rate import PublishRate

EVENT = {"event_type": "x", "data": 1}
KEYS = (PublishKey("billing", "old-key"), PublishKey("billing", "new-key"), PublishKey("shop", "shop-key"))
SLOW: dict[str, Any] = {"publish_rate": 0.001, "publish_burst": 10, "max_batch_events": 10, "publish_keys": KEYS}
"""Within a test nothing comes again."""
FIELDS = re.compile(r'"publish";r=(\d+);t=(\d+)')


def refused(served: Served) -> float | None:
    return served.gateway.metrics.registry.get_sample_value(
        "gateway_publishes_refused_total", {"reason": "rate-limited"}
    )


async def publish(served: Served, count: int, key: str = "old-key") -> int:
    status, _ = await post(served, [EVENT] * count, headers=bearer(key))
    return status


async def test_a_publisher_that_publishes_too_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch counts its events; what is too much is refused whole, with when to come back and what is left."""
    monkeypatch.setattr(publish_log, "_sparing", Sparing())
    async with served(**SLOW) as gateway:
        assert await publish(gateway, 8) == 202
        body, headers = [EVENT] * 3, JSON | bearer("old-key")
        with capture_logs() as lines:
            async with gateway.http.post("/v1/users/alice/events", json=body, headers=headers) as response:
                assert response.status == 429
                assert response.content_type == "application/problem+json"
                assert int(response.headers["Retry-After"]) in (999, 1000)
                assert response.headers["RateLimit-Policy"] == '"publish";q=10;w=10000'
                assert response.headers["RateLimit"] == '"publish";r=2;t=1000'
                problem = await response.json()
        assert problem["type"] == "urn:event-gateway:problem:rate-limited"
        assert "GATEWAY_PUBLISH_RATE" in problem["detail"]
        assert "billing" in problem["detail"]
        assert [(line["event"], line["key"], line["outcome"]) for line in lines] == [
            ("publish.answered", "billing", "rate-limited")
        ]
        assert len(await kept(gateway)) == 8
        assert await publish(gateway, 2) == 202
        assert refused(gateway) == 1


async def test_keys_of_one_name_are_one_publisher() -> None:
    """Rotating a key does not double what may be published; another publisher has its own."""
    async with served(**SLOW) as gateway:
        assert await publish(gateway, 6, "old-key") == 202
        assert await publish(gateway, 6, "new-key") == 429
        assert await publish(gateway, 10, "shop-key") == 202


async def test_the_limit_is_exact_for_publishes_at_once() -> None:
    """Of forty that come in one moment ten are taken."""
    async with served(**SLOW) as gateway:
        statuses = Counter(await asyncio.gather(*(publish(gateway, 1) for _ in range(40))))
        assert statuses == {202: 10, 429: 30}
        assert len(await kept(gateway)) == 10


async def test_whoever_has_nothing_left_is_refused_before_the_body_is_read() -> None:
    """What would be a 400 is a 429: nobody looked at it."""
    async with served(**SLOW) as gateway:
        assert await publish(gateway, 10) == 202
        status, _ = await post(gateway, b"not JSON", headers=bearer("old-key"))
        assert status == 429


async def test_what_is_not_published_takes_nothing() -> None:
    """A batch with a mistake in it costs its publisher nothing."""
    async with served(**SLOW) as gateway:
        for _ in range(5):
            status, _ = await post(gateway, [EVENT] * 9 + [{}], headers=bearer("old-key"))
            assert status == 400
        assert await publish(gateway, 10) == 202


async def test_every_answer_says_what_is_left() -> None:
    """So that a publisher can slow down before it is refused; made ready or by aiohttp."""
    ways: list[dict[str, str]] = [{}, {"Origin": "https://app.example.com"}, {"Connection": "close"}]
    async with served(**SLOW) as gateway:
        for number, more in enumerate(ways, 1):
            headers = JSON | bearer("shop-key") | more
            async with gateway.http.post("/v1/broadcast", json=EVENT, headers=headers) as response:
                assert response.status == 202
                assert response.headers["RateLimit-Policy"] == '"publish";q=10;w=10000'
                left = FIELDS.fullmatch(response.headers["RateLimit"])
                assert left is not None
                assert int(left[1]) == 10 - number


async def test_a_token_that_publishes_is_limited_too() -> None:
    """By its sub, on a path of its own: a key cannot be starved by a token of the same name."""
    async with served(**SLOW, jwt_secret=SECRET) as gateway:
        shown = token(claims("billing", scope="user:*"))
        assert await publish(gateway, 10, shown) == 202
        assert await publish(gateway, 1, shown) == 429
        assert await publish(gateway, 10) == 202


async def test_without_a_rate_there_is_nothing_to_tell(gateway: Served) -> None:
    """The default: no limit, and no fields."""
    async with gateway.http.post("/v1/broadcast", json=EVENT) as response:
        assert response.status == 202
        assert not {"RateLimit", "RateLimit-Policy"} & response.headers.keys()


@given(st.floats(0.01, 10_000), st.integers(1, 5000), st.lists(st.integers(1, 100)), st.floats(0, 1000))
def test_a_publisher_that_does_as_it_is_told_is_not_refused(
    rate: float, burst: int, counts: list[int], pause: float
) -> None:
    """After Retry-After it is there; and what is left, spread over its window, is no more than what comes."""
    now = 0.0
    limit = PublishRate(rate, burst, lambda: now)
    for count in counts:
        try:
            limit.take("a", min(count, burst))
        except RateLimited as error:
            assert error.retry_after is not None
            fields = FIELDS.fullmatch(error.headers["RateLimit"])
            assert fields is not None
            assert int(fields[2]) <= math.ceil(error.retry_after), "Retry-After is not before the end of the window"
            now += error.retry_after + 1e-6
            limit.take("a", min(count, burst))
        left = FIELDS.fullmatch(limit.fields("a")["RateLimit"])
        assert left is not None
        assert int(left[1]) <= int(left[2]) * rate + 1e-6
        now += pause


@pytest.mark.parametrize(("rate", "burst", "policy"), [(100, 1000, "q=1000;w=10"), (5000, 1000, "q=1000;w=1")])
def test_the_policy(rate: float, burst: int, policy: str) -> None:
    """The burst, and the seconds in which it comes again: whole ones, and one at least."""
    assert PublishRate(rate, burst).fields("a") == {
        "RateLimit-Policy": f'"publish";{policy}',
        "RateLimit": f'"publish";r=1000;{policy.partition(";")[2].replace("w", "t")}',
    }
