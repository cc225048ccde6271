"""Scripts of what clients do: come, read, stall, leave, come back, and claim to know what they do not."""

from __future__ import annotations

from model.simulate import played


def test_a_quiet_day() -> None:
    """Live events come in order, each to those it is for, and no gap is told."""
    day = played("""
        client 0 comes to 1
        client 1 comes to 2
        client 2 comes to 1
        wait 1
        publish broadcast x3
        publish user:a x2
        publish topic:x by hand
        publish topic:x
        wait 20
    """)
    assert day.gaps == [0, 0, 0]
    assert day.heals == [0, 0, 0]


def test_a_client_that_comes_back_is_given_what_it_missed() -> None:
    """Cut in the middle of a block, back on another process: nothing is lost, nothing comes twice."""
    back = played("""
        client 0 comes to 1
        wait 1
        client 0 reads slowly
        publish user:a x10 of 600 bytes
        wait 1
        client 0 is cut, noticed after 1.5, back after 0.5 on 2
        publish user:a x5
        wait 5
    """)
    assert back.gaps[0] == 0


def test_a_slow_client_is_served_from_history() -> None:
    """It falls behind, its buffer stays bounded, and it is whole once it reads again."""
    slow = played("""
        client 0 comes to 1
        wait 1
        client 0 reads nothing
        publish user:a x20 of 600 bytes
        wait 3
        client 0 reads slowly
        wait 10
    """)
    assert slow.gaps[0] == 0


def test_a_client_that_reads_again_is_not_taken_for_a_stalled_one() -> None:
    """A buffer that was nearly empty when its wait began, and then drained: the replay goes on at once."""
    script = """
        client 0 comes to 1
        wait 0.5
        publish user:a x9 of {size} bytes
        wait 3
    """
    for size in range(1_400, 3_000, 100):
        assert played(script.format(size=size), max_buffer=1_000, page_bytes=100, send_timeout=200).gaps[0] == 0


def test_a_client_that_takes_nothing_is_dropped_and_comes_back() -> None:
    """Dropped after the send timeout; what it was not given waits in the history."""
    stalled = played("""
        client 0 comes to 1
        wait 1
        client 0 reads nothing
        publish user:a x20 of 600 bytes
        wait 15
    """)
    assert stalled.gaps[0] == 0


def test_a_quiet_night_is_no_gap() -> None:
    """A cursor at the tip is not too old, however long nothing was published on any channel."""
    night = played(
        """
        client 0 comes to 1
        publish broadcast
        wait 30
        client 0 is cut, back after 1 on 1
        wait 5
        """,
        ttl=3,
    )
    assert night.gaps == [0, 0, 0]


def test_a_history_trimmed_past_a_slow_client_is_told_each_time() -> None:
    """A second loss during one long catch-up is one more gap: the client fetched its state after the first."""
    trimmed = played(
        """
        publish user:a x8 of 3000 bytes
        client 0 reads nothing
        client 0 comes to 1 claiming old
        wait 2
        publish user:a x3
        client 0 reads slowly
        wait 20
        """,
        max_events=2,
        tail_bytes=600,
        max_buffer=1_000,
        send_timeout=100,
    )
    assert trimmed.gaps[0] == 2


def test_a_cursor_from_the_future_is_told_as_a_gap_on_warm_channels_too() -> None:
    """Tails that cover everything must not make a client deaf that claims to know more."""
    future = played("""
        client 2 comes to 1
        wait 1
        publish user:a x3
        wait 1
        client 0 comes to 1 claiming future
        wait 1
        publish user:a x3
        wait 5
    """)
    assert future.gaps[0] == 1


def test_what_is_no_cursor_is_told_as_a_gap() -> None:
    """And what is kept follows; `earliest` is a cursor."""
    claims = played("""
        publish user:a x3
        client 0 comes to 1 claiming nonsense
        client 2 comes to 1 claiming earliest
        wait 5
    """)
    assert claims.gaps == [1, 0, 0]


def test_without_retention_events_come_at_most_once() -> None:
    """No ids, no gaps; who falls behind is disconnected; what the link missed stays missed."""
    plain = played(
        """
        client 0 comes to 1
        client 1 comes to 2
        wait 1
        publish broadcast x3
        link 1 breaks
        publish broadcast x2
        wait 3
        client 1 reads nothing
        publish user:b x12 of 600 bytes
        wait 8
    """,
        retention=False,
    )
    assert plain.gaps == [0, 0, 0]
