"""Log lines that a stranger can cause without end."""

from __future__ import annotations

from gateway.telemetry.sparing import Sparing


def test_so_many_in_a_second_and_then_the_number_left_out() -> None:
    """The first lines of a second are written; the next one that is says how many were not."""
    now = 100.0
    sparing = Sparing(2, lambda: now)
    assert [sparing.left_out() for _ in range(5)] == [0, 0, None, None, None]
    now += 0.9
    assert sparing.left_out() is None
    now += 0.1
    assert [sparing.left_out() for _ in range(3)] == [4, 0, None]
