from __future__ import annotations

import random

import pytest

from gateway.bench.latencies import Latencies


def test_percentiles_are_within_one_percent() -> None:
    """What is told is at most one percent above what was measured, and never above the longest."""
    values = sorted(random.Random(7).lognormvariate(-6, 2) for _ in range(5000))
    latencies = Latencies()
    for value in values:
        latencies.add(value)
    for percent in (50, 95, 99, 99.9, 100):
        exact = values[max(0, -int(-len(values) * percent // 100) - 1)]
        told = latencies.percentile(percent)
        assert told is not None
        assert exact * 0.999 <= told <= exact * 1.011
    assert latencies.percentile(100) == latencies.longest == values[-1]
    assert latencies.count == 5000


def test_nothing_measured() -> None:
    """Of nothing there is no percentile."""
    assert Latencies().percentile(50) is None


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e-9, 1e9])
def test_beyond_the_buckets(seconds: float) -> None:
    """What is too short or too long for a bucket is counted in the first or the last."""
    latencies = Latencies()
    latencies.add(seconds)
    assert latencies.count == 1
    assert latencies.percentile(50) is not None
