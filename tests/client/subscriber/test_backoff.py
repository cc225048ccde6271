"""How long a subscriber waits."""

from __future__ import annotations

from gateway.client.subscriber.backoff import FIRST, LONGEST, MOST, Backoff


def longest(backoff: Backoff, times: int) -> list[float]:
    return [backoff.wait() for _ in range(times)]


def test_it_doubles_up_to_a_limit() -> None:
    """The most that is waited is what the gateway said, then twice as long with each failure."""
    backoff = Backoff(jitter=lambda: 1.0)
    backoff.said(2000)
    assert longest(backoff, 6) == [2, 4, 8, 16, LONGEST, LONGEST]
    backoff.succeeded()
    assert longest(backoff, 2) == [2, 4]


def test_it_is_anything_up_to_that() -> None:
    """Full jitter: nothing at all, too."""
    assert Backoff(jitter=lambda: 0.0).wait() == 0
    waits = [Backoff().wait() for _ in range(1000)]
    assert 0 <= min(waits) < 0.1 * FIRST < 0.9 * FIRST < max(waits) <= FIRST


def test_what_is_asked_for_is_waited_for() -> None:
    """A Retry-After is the least, and then it is spread as ever."""
    assert Backoff(jitter=lambda: 0.0).wait(7) == 7
    assert Backoff(jitter=lambda: 1.0).wait(7) == 7 + FIRST


def test_a_gateway_may_ask_for_more_than_the_limit() -> None:
    """But not for ever."""
    backoff = Backoff(jitter=lambda: 1.0)
    backoff.said(60_000)
    assert backoff.wait() == 60
    backoff.said(10**12)
    assert backoff.wait(1e12) <= 2 * MOST


def test_it_fails_for_years() -> None:
    """However often it fails, there is a number."""
    backoff = Backoff(jitter=lambda: 1.0)
    assert longest(backoff, 5000)[-1] == LONGEST
