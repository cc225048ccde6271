"""Token buckets, against the plainest model there is: whatever is taken, when, and from how many."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.buckets import Buckets

EIGHTHS = st.integers(0, 400).map(lambda n: n / 8)
"""Times and rates that floats hold exactly, so that the model and the bucket must agree to the last token."""
TAKINGS = st.lists(st.tuples(st.sampled_from("ab"), EIGHTHS, st.integers(1, 12)), max_size=60)


@given(TAKINGS, st.sampled_from([0.25, 0.5, 1.0, 2.0, 8.0]), st.integers(1, 12))
def test_a_bucket_is_what_the_model_says(takings: list[tuple[str, float, int]], rate: float, burst: int) -> None:
    """Each key has its own; what was refused took nothing, and the wait told is when it would be taken."""
    buckets = Buckets(rate, burst)
    model = {key: (Fraction(burst), Fraction(0)) for key in "ab"}
    now = 0.0
    for key, pause, wanted in takings:
        now += pause
        count = min(wanted, burst)
        tokens, since = model[key]
        there = min(Fraction(burst), tokens + (Fraction(now) - since) * Fraction(rate))
        assert buckets.left(key, now) == there
        wait = buckets.take(key, count, now)
        assert wait == max(count - there, Fraction(0)) / Fraction(rate)
        model[key] = (there - count if there >= count else there, Fraction(now))


@given(
    st.lists(st.tuples(st.floats(0, 10), st.integers(1, 20)), max_size=100),
    st.floats(0.01, 1000),
    st.integers(20, 1000),
)
def test_no_more_than_the_burst_and_the_rate(takings: list[tuple[float, int]], rate: float, burst: int) -> None:
    """Over any stretch of time no more is taken than the burst and what the rate gave meanwhile."""
    buckets = Buckets(rate, burst)
    taken: list[tuple[float, int]] = []
    now = 1e6
    for pause, count in takings:
        now += pause
        if not buckets.take("a", count, now):
            taken.append((now, count))
    for start in range(len(taken)):
        total = 0
        for when, count in taken[start:]:
            total += count
            assert total <= burst + (when - taken[start][0]) * rate + 1e-3


@pytest.mark.parametrize("rate", [0.001, 0.3, 7.0, 1e6])
@pytest.mark.parametrize("now", [0.0, 12345.678, 3e8])
def test_a_full_bucket_gives_exactly_its_burst_at_once(rate: float, now: float) -> None:
    """Not one more and not one less, whatever the clock shows."""
    buckets = Buckets(rate, 100)
    assert [buckets.take("a", 1, now) for _ in range(100)] == [0] * 100
    assert buckets.take("a", 1, now) == pytest.approx(1 / rate)


def test_after_the_wait_it_is_there() -> None:
    """Whoever waits as long as was said, and a hair, gets what it wanted."""
    buckets = Buckets(3, 10)
    assert not buckets.take("a", 10, 50)
    wait = buckets.wait("a", 7, 50)
    assert wait == buckets.take("a", 7, 50) == pytest.approx(7 / 3)
    assert buckets.take("a", 7, 50 + wait - 0.001)
    assert not buckets.take("a", 7, 50 + wait + 1e-9)
    assert buckets.wait("b", 10, 50) == 0


def test_full_buckets_are_not_kept() -> None:
    """A table holds who came lately, not who ever came."""
    buckets = Buckets(1, 10)
    for number in range(1000):
        buckets.take(f"client {number}", 5, number / 10)
    assert len(buckets) <= 10 * 10 + 1
    buckets.take("one more", 1, 1000)
    buckets.take("one more", 1, 1000)
    assert len(buckets) < 100


def test_a_table_has_an_end() -> None:
    """Of more keys than it may hold, the one longest left alone begins anew; the others go on."""
    buckets = Buckets(0.001, 1, most=3)
    for key in "abcd":
        assert not buckets.take(key, 1, 0)
    assert len(buckets) == 3
    assert buckets.take("d", 1, 0)
    assert buckets.take("b", 1, 0)
    assert not buckets.take("a", 1, 0)
    assert len(buckets) == 3
