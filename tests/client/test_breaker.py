from __future__ import annotations

from gateway.client.breaker import Breaker, State


def breaker(jitter: float = 1.0) -> Breaker:
    return Breaker(failures=3, cool_down=2, max_cool_down=30, jitter=lambda: jitter)


def admitted(breaker: Breaker, now: float) -> int:
    ticket = breaker.admit(now)
    assert ticket is not None
    return ticket


def fail(breaker: Breaker, now: float) -> bool:
    return breaker.failed(admitted(breaker, now), now)


def opened(now: float = 0.0, jitter: float = 1.0) -> Breaker:
    it = breaker(jitter)
    assert [fail(it, now) for _ in range(3)] == [False, False, True]
    return it


def test_failures_in_a_row_open_it() -> None:
    """The failure that reaches the limit opens the breaker, and then nothing is admitted."""
    it = opened()
    assert it.state is State.OPEN
    assert it.admit(0) is None
    assert it.admit(1.9) is None


def test_a_success_starts_the_count_anew() -> None:
    """Failures that a success interrupts do not add up."""
    it = breaker()
    for _ in range(5):
        assert not fail(it, 0) and not fail(it, 0)
        assert not it.succeeded(admitted(it, 0))
    assert it.state is State.CLOSED


def test_one_trial_after_the_cool_down() -> None:
    """When the cool-down is over exactly one caller is admitted."""
    it = opened()
    assert it.admit(2) is not None
    assert it.state is State.HALF_OPEN
    assert it.admit(2) is None
    assert it.admit(1000) is None


def test_a_trial_that_succeeds_closes_it() -> None:
    """After a trial that succeeded everybody is admitted again, and the next cool-down is short again."""
    it = opened()
    fail(it, 2)
    assert it.succeeded(admitted(it, 100))
    assert it.state is State.CLOSED
    for _ in range(3):
        fail(it, 100)
    assert it.admit(101.9) is None
    assert it.admit(102) is not None


def test_cool_downs_double_up_to_the_most() -> None:
    """Each trial that fails doubles the cool-down until the longest is reached."""
    it, now = opened(), 0.0
    for seconds in (2, 4, 8, 16, 30, 30, 30):
        assert it.admit(now + seconds - 0.1) is None
        now += seconds
        assert fail(it, now)


def test_jitter_shortens_a_cool_down_to_half_at_most() -> None:
    """The cool-down lies between its half and its whole."""
    it = opened(jitter=0)
    assert it.admit(0.9) is None
    assert it.admit(1) is not None


def test_a_trial_that_is_given_up_is_made_by_the_next() -> None:
    """A cancelled trial leaves the breaker open for another one at once."""
    it = opened()
    it.abandoned(admitted(it, 2))
    assert it.admit(2) is not None
    assert it.admit(2) is None


def test_giving_up_while_closed_changes_nothing() -> None:
    """A call that is cancelled in normal operation counts neither way."""
    it = breaker()
    it.abandoned(admitted(it, 0))
    assert it.state is State.CLOSED


def test_late_outcomes_count_for_nothing() -> None:
    """The outcome of a call from before the breaker opened neither closes it nor disturbs its trial."""
    it = breaker()
    late = admitted(it, 0)
    for _ in range(3):
        fail(it, 0)
    assert not it.succeeded(late)
    trial = admitted(it, 2)
    it.abandoned(late)
    assert not it.failed(late, 2)
    assert not it.paused(late, 2, 10)
    assert it.admit(2) is None
    assert it.succeeded(trial)


def test_a_pause_that_was_asked_for() -> None:
    """The other side's wish opens the breaker at once for that long, within reason."""
    it = breaker()
    assert it.paused(admitted(it, 0), 0, 7)
    assert it.admit(6.9) is None
    trial = admitted(it, 7)
    it.paused(trial, 7, 86_400)
    assert it.admit(37) is not None
