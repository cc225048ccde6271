"""What is kept with a ticket: what was written is read, and nothing else is."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.auth import tickets
from gateway.auth.identity import Subscriber

users = st.from_regex(r"[A-Za-z0-9_:@-]{1,20}", fullmatch=True)
ends = st.none() | st.floats(0, 1e18)


@given(users, st.lists(st.text(max_size=20), max_size=3), ends)
def test_what_was_written_is_read(user: str, topics: list[str], end: float | None) -> None:
    """The subscriber is the same, and known by the ticket."""
    kept = tickets.written(Subscriber(user, tuple(topics), end))
    assert tickets.read(kept, "digest") == Subscriber(user, tuple(topics), end, "digest")


FOREIGN: list[object] = [
    {}, [], 7, None, ["alice"], ["alice", []], ["alice", "orders.*", None], ["alice", [1], None], ["a b", [], None],
    [7, [], None], ["alice", [], "soon"], ["alice", [], True], ["alice", [], None, 1], ["alice", {}, None],
]  # fmt: skip


@pytest.mark.parametrize(
    "kept", [*(json.dumps(value).encode() for value in FOREIGN), b"", b"\xff", b"[" * 100_000, b'["alice",[],1e999]',
             b'["alice",[],NaN]']
)  # fmt: skip
def test_what_was_not_is_no_ticket(kept: bytes) -> None:
    """Whoever wrote it: nobody is let in by it, and nothing breaks."""
    assert tickets.read(kept, "digest") is None


@given(st.binary(max_size=100))
def test_no_bytes_break_the_reading(kept: bytes) -> None:
    """Whatever is kept is a subscriber, or none."""
    assert isinstance(tickets.read(kept, "digest"), Subscriber | None)


def test_no_two_are_alike() -> None:
    """A ticket has 256 random bits; its digest tells nothing of it."""
    made = {tickets.new_ticket() for _ in range(1000)}
    assert len(made) == 1000
    assert all(len(ticket) == 43 for ticket in made)
    assert len({tickets.digest(ticket) for ticket in made}) == 1000
