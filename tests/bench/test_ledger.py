"""The account of a run: what was lost, doubled, out of order, or at the wrong user."""

from __future__ import annotations

import pytest

from gateway.bench.ledger import Inbox, Ledger
from gateway.bench.wire import Tick
from gateway.ids import EventId


def ledger(events: int, lanes: int = 1) -> Ledger:
    """All events sent and accepted: number n at n seconds, answered half a second later."""
    made = Ledger(events, lanes)
    for number in range(events):
        made.sent(number, float(number))
        made.accept(number, number + 0.5)
    return made


def take(ledger: Ledger, inbox: Inbox, *numbers: int, at: float = 100.0) -> None:
    ledger.take(inbox, [Tick(number, EventId(1, number + 1)) for number in numbers], at)


def faults(ledger: Ledger) -> tuple[int, int, int, int]:
    return ledger.missing(), ledger.duplicates, ledger.out_of_order, ledger.misdelivered


def test_all_in_order() -> None:
    """What everybody got once and in order is without fault."""
    book = ledger(20)
    for inbox in [book.inbox(0), book.inbox(0)]:
        take(book, inbox, *range(20))
    assert faults(book) == (0, 0, 0, 0)
    assert book.delivered == 40


def test_latency_is_from_sending_to_arrival() -> None:
    """An event's latency begins when it was sent."""
    book = ledger(3)
    take(book, book.inbox(0), 2, at=2.25)
    assert book.latencies.longest == 0.25
    assert book.last_delivery == 2.25


@pytest.mark.parametrize("missing", [0, 7, 8, 19])
def test_lost(missing: int) -> None:
    """An event that one of two did not get is one loss."""
    book = ledger(20)
    take(book, book.inbox(0), *range(20))
    take(book, book.inbox(0), *(number for number in range(20) if number != missing))
    assert faults(book) == (1, 0, 0, 0)


def test_twice() -> None:
    """An event that came again is a duplicate, and no second delivery."""
    book = ledger(3)
    take(book, book.inbox(0), 0, 1, 1, 2, 0)
    assert faults(book) == (0, 2, 0, 0)
    assert book.delivered == 3


def test_before_an_earlier_one_by_id() -> None:
    """What comes with a lower id than before is out of order."""
    book = ledger(3)
    take(book, book.inbox(0), 0, 2, 1)
    assert faults(book) == (0, 0, 1, 0)


def test_before_an_earlier_one_without_ids() -> None:
    """Without ids, what comes after one that was sent only after its answer is out of order."""
    book = ledger(2)
    book.take(book.inbox(0), [Tick(1, None), Tick(0, None)], 100.0)
    assert faults(book) == (0, 0, 1, 0)


def test_events_under_way_together_have_no_order() -> None:
    """Of two events of which neither was answered when the other was sent, either may come first."""
    book = Ledger(2, 1)
    for number in (0, 1):
        book.sent(number, float(number))
    for number in (0, 1):
        book.accept(number, 2.0 + number)
    book.take(book.inbox(0), [Tick(1, EventId(5, 0)), Tick(0, EventId(6, 0))], 100.0)
    assert faults(book) == (0, 0, 0, 0)


def test_each_lane_has_its_own_events() -> None:
    """Events go to the lanes in turn; each lane is due its own, and no other."""
    book = ledger(10, lanes=3)
    inboxes = [book.inbox(lane) for lane in range(3)]
    assert book.missing() == 10
    for lane, inbox in enumerate(inboxes):
        take(book, inbox, *range(lane, 10, 3))
    assert faults(book) == (0, 0, 0, 0)


def test_at_the_wrong_user() -> None:
    """What arrives in another lane than its own is told, and its own still waits for it."""
    book = ledger(2, lanes=2)
    one, two = book.inbox(0), book.inbox(1)
    take(book, one, 0, 1)
    assert faults(book) == (1, 0, 0, 1)
    take(book, two, 1)
    assert faults(book) == (0, 0, 0, 1)


def test_not_accepted() -> None:
    """What was not accepted is not due, and no fault when it comes."""
    book = Ledger(2, 1)
    book.sent(0, 0.0)
    book.sent(1, 1.0)
    book.accept(1, 2.0)
    one, two = book.inbox(0), book.inbox(0)
    take(book, one, 0, 1)
    take(book, two, 1)
    assert faults(book) == (0, 0, 0, 0)


def test_a_stream_that_ended_early() -> None:
    """Nothing is due to a stream that ended: it could have come back for it."""
    book = ledger(5)
    inbox = book.inbox(0)
    take(book, inbox, 0, 1)
    inbox.open = False
    assert faults(book) == (0, 0, 0, 0)


def test_others() -> None:
    """Events of others are counted by type, and numbers of no event (the probe's) not at all."""
    book = ledger(2)
    inbox = book.inbox(0)
    book.take(inbox, ["news", "gateway.gap", "news", Tick(-1, None), Tick(2, None)], 1.0)
    assert dict(book.others) == {"news": 2, "gateway.gap": 1}
    assert faults(book) == (2, 0, 0, 0)
    assert book.delivered == 0
