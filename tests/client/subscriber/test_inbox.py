"""What a subscriber makes of the events that come."""

from __future__ import annotations

import json
import math

import pytest

from gateway.client import Event, Gap
from gateway.client.subscriber.inbox import REMEMBERED, Inbox


def event(number: int, type: str = "x") -> Event:
    return Event(type, str(number), f"{number}-0", f"{number}-0")


def gap(data: object) -> Event:
    return Event("gateway.gap", data if isinstance(data, str) else json.dumps(data), "5-0")


def taken(inbox: Inbox) -> list[Event]:
    found = []
    while inbox:
        found.append(inbox.take())
    return found


def test_events_are_given_in_order() -> None:
    """As they came."""
    inbox = Inbox()
    inbox.put([event(1), event(2)])
    inbox.put([event(3)])
    assert taken(inbox) == [event(1), event(2), event(3)]


def test_an_event_that_comes_twice_is_given_once() -> None:
    """It is known by its id; those without one are all given."""
    inbox = Inbox()
    inbox.put([event(1), event(1), event(2)])
    assert taken(inbox) == [event(1), event(2)]
    inbox.put([event(2), Event("x", "a", "2-0"), Event("x", "a", "2-0")])
    assert taken(inbox) == [Event("x", "a", "2-0")] * 2


def test_ids_are_not_compared() -> None:
    """A clock that was set back makes smaller ids, and their events are new all the same."""
    inbox = Inbox()
    inbox.put([event(9), event(3)])
    assert taken(inbox) == [event(9), event(3)]


def test_memory_is_bounded() -> None:
    """Of a long stream only the last ids are known."""
    inbox = Inbox()
    inbox.put(event(number) for number in range(REMEMBERED + 1))
    taken(inbox)
    inbox.put([event(0), event(REMEMBERED)])
    assert taken(inbox) == [event(0)]


def test_a_gap_is_an_event_with_what_is_known_of_it() -> None:
    """At its place among the others; after it, ids that were seen may mean something else."""
    inbox = Inbox()
    inbox.put([event(1), gap({"requested": "1-0", "oldest": "7-0"}), event(1)])
    first, told, again = taken(inbox)
    assert first == again == event(1)
    assert isinstance(told, Gap)
    assert (told.type, told.requested, told.oldest, told.last_event_id) == ("gateway.gap", "1-0", "7-0", "5-0")


@pytest.mark.parametrize("data", [{"requested": "1-0", "oldest": None}, {"requested": 7}, [], "{", "[" * 100_000])
def test_a_gap_that_says_little(data: object) -> None:
    """Whatever it holds, it is a gap."""
    inbox = Inbox()
    inbox.put([gap(data)])
    [told] = taken(inbox)
    assert isinstance(told, Gap)
    assert told.oldest is None


def test_what_the_gateway_says_to_clients_is_not_for_programs() -> None:
    """That a token ends is noted; what this client does not know is passed over."""
    inbox = Inbox()
    assert inbox.token_left == math.inf
    inbox.put([Event("gateway.reconnect", '{"retry":3}'), Event("gateway.news", "1"), event(1)])
    assert taken(inbox) == [event(1)]
    inbox.put([Event("gateway.expiring", '{"seconds":30}')])
    assert inbox.token_left == 30
    inbox.put([Event("gateway.expiring", "soon")])
    assert inbox.token_left == 0
