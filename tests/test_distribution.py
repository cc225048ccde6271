"""Counts by bucket: every value falls into one, and a bound belongs to the bucket that it ends."""

from __future__ import annotations

import pytest

from gateway.distribution import Distribution


@pytest.mark.parametrize(
    ("value", "bucket"), [(-1, 0), (0, 0), (0.1, 0), (0.11, 1), (1, 1), (1.0001, 2), (10, 2), (11, 3), (1e9, 3)]
)
def test_a_value_is_in_the_first_bucket_that_reaches_it(value: float, bucket: int) -> None:
    """As Prometheus has it: `le` is less or equal."""
    measured = Distribution(0.1, 1, 10)
    measured.observe(value)
    assert measured.counts == [int(number == bucket) for number in range(4)]
    assert measured.sum == value


def test_it_adds_up() -> None:
    """The counts are of all that was observed, and so is the sum."""
    measured = Distribution(1, 2, 4)
    for value in (0.5, 1.5, 1.5, 3, 5, 7):
        measured.observe(value)
    assert measured.counts == [1, 2, 1, 2]
    assert measured.sum == 18.5
