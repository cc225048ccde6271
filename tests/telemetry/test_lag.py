"""When a loop is late for good, and when it is not any more."""

from __future__ import annotations

import asyncio

import pytest

from gateway.distribution import Distribution
from gateway.telemetry import lag
from gateway.telemetry.lag import Lagging, measure


def told(*observed: tuple[float, float]) -> list[bool]:
    """After each of (time, how late)."""
    lagging = Lagging(0.5)
    after = []
    for at, late in observed:
        lagging.observe(late, at)
        after.append(lagging.now)
    return after


def test_late_for_long_enough_is_lagging() -> None:
    """Each timer was late, for 3 s."""
    assert told((0, 0.5), (1, 0.9), (2.9, 0.6), (3, 0.5)) == [False, False, False, True]


def test_one_long_pause_is_none() -> None:
    """However long: what was late once has caught up."""
    assert told((0, 30), (0.1, 0), (3.2, 30), (3.3, 0)) == [False] * 4


@pytest.mark.parametrize("late", [0.49, 0.26])
def test_in_time_once_begins_anew(late: float) -> None:
    """Below the limit is in time, as long as it is not called lagging."""
    assert told((0, 0.6), (2, late), (4, 0.6), (6.9, 0.6), (7, 0.6)) == [False, False, False, False, True]


def test_it_ends_when_it_was_in_time_for_as_long() -> None:
    """Late by less than half of the limit; between the two it stays what it was."""
    lagging = [(0, 0.6), (3, 0.6)]
    assert told(*lagging, (4, 0.4), (8, 0.4), (20, 0.3))[2:] == [True, True, True]
    assert told(*lagging, (4, 0.1), (6.9, 0.25), (7, 0))[2:] == [True, True, False]
    assert told(*lagging, (4, 0.1), (6, 0.3), (7, 0), (9, 0), (10, 0))[2:] == [True, True, True, True, False]


async def test_a_loop_that_is_held_up_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a real loop: how late its timers are is observed, for the histogram and for readiness."""
    monkeypatch.setattr(lag, "LAGGING_AFTER", 0.3)
    observed, lagging = Distribution(0.01), Lagging(0.001)
    measuring = asyncio.create_task(measure(observed, lagging))
    loop = asyncio.get_running_loop()
    until = loop.time() + 10
    while not lagging.now and loop.time() < until:
        blocked_until = loop.time() + 0.08
        while loop.time() < blocked_until:
            pass
        await asyncio.sleep(0)
    assert lagging.now
    assert observed.counts[1] > 0
    measuring.cancel()
    await asyncio.wait({measuring})
