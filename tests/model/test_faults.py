"""One script for each thing that goes wrong between gateway and server: nobody misses anything unknowingly."""

from __future__ import annotations

from model.simulate import played


def test_a_link_that_breaks_is_healed() -> None:
    """What is published while it is down comes after it, once."""
    healed = played("""
        client 0 comes to 1
        wait 3
        publish user:a x2
        link 1 breaks
        publish user:a x3
        publish broadcast by hand
        wait 3
    """)
    assert healed.heals[1] == 1
    assert healed.gaps[0] == 0


def test_a_link_that_dies_silently_is_healed() -> None:
    """A client that comes while the process is deaf, and reads history ahead of it, gets nothing twice."""
    healed = played("""
        client 0 comes to 1
        wait 3
        link 1 dies silently, noticed after 2.5
        publish user:a x3
        wait 0.5
        client 2 comes to 1
        wait 0.5
        publish user:a x3
        wait 5
    """)
    assert healed.gaps[0] == healed.gaps[2] == 0


def test_what_healing_finds_lost_is_told_to_those_who_lost_it() -> None:
    """To the live one; not to one that came while the process was deaf; and to one that comes back from before."""
    lost = played(
        """
        client 0 comes to 1
        client 1 comes to 1
        client 2 comes to 1
        wait 3
        client 1 is cut, back after 6 on 1
        link 1 dies silently, noticed after 2.5
        publish broadcast x5
        wait 1
        client 2 comes anew to 1
        wait 10
        """,
        max_events=2,
        linger=20,
    )
    assert lost.gaps == [1, 1, 0]


def test_a_failover_leaves_nobody_reading_for_ever() -> None:
    """Tails that begin after the new server's tip are waited for, not asked for."""
    played(
        """
        client 0 comes to 1
        wait 3
        client 0 reads nothing
        publish broadcast x11 of 3000 bytes
        wait 2
        client 0 reads fast
        server fails over, losing 4, noticed after 2.5
        wait 5
        """,
        max_events=5,
        tail_bytes=1_500,
    )


def test_more_than_can_be_held_is_read_from_history() -> None:
    """Announcements that come while a healing is under way overflow what may be held."""
    assert played(
        """
        client 0 comes to 1
        wait 3
        link 1 breaks
        publish user:a x8
        wait 0.08
        publish user:a x8
        wait 0.01
        publish user:a x8
        wait 3
        """,
        held_bytes=1_000,
        heal_page=2,
    ).gaps == [0, 0, 0]


def test_a_server_that_is_down_loses_nobody() -> None:
    """Clients stay; who comes meanwhile is positioned when it is back; who is closed meanwhile goes."""
    down = played("""
        client 0 comes to 1
        client 1 comes to 2
        wait 3
        publish broadcast x2
        server is down for 6
        client 2 comes to 2
        wait 3
        client 1 is closed
        wait 10
    """)
    assert down.gaps == [0, 0, 0]


def test_a_server_that_hangs_loses_nobody() -> None:
    """Reads give up and are asked again."""
    hung = played("""
        client 0 comes to 1
        wait 3
        server hangs for 8
        client 0 is cut, back after 0.5 on 2
        wait 1
        publish broadcast x3
        wait 10
    """)
    assert hung.gaps[0] == 0


def test_a_process_in_a_black_hole_catches_up() -> None:
    """Nothing answers it, while others go on."""
    assert played("""
        client 0 comes to 1
        client 1 comes to 2
        wait 3
        network 1 is gone for 9
        publish broadcast x4
        wait 15
    """).gaps == [0, 0, 0]


def test_a_process_that_is_killed_loses_nothing() -> None:
    """Its clients land on another with their cursors."""
    killed = played("""
        client 0 comes to 1
        wait 3
        publish user:a x3
        process 1 restarts
        publish user:a x3
        wait 10
    """)
    assert killed.gaps[0] == 0


def test_a_deleted_history_is_a_gap_for_those_who_lost_something() -> None:
    """Who had everything is told nothing."""
    deleted = played(
        """
        client 0 comes to 1
        client 1 comes to 1
        wait 3
        client 1 is cut, back after 5 on 1
        wait 2
        publish broadcast x3
        wait 1
        server deletes the history of broadcast
        wait 10
    """,
        tail_bytes=600,
    )
    assert deleted.gaps == [0, 1, 0]


def test_a_flush_is_a_gap_for_those_who_were_away() -> None:
    """Their cursors are from before the epoch; what is live goes on."""
    flushed = played("""
        client 0 comes to 1
        client 1 comes to 1
        wait 3
        publish broadcast x3
        wait 1
        client 1 is cut, back after 5 on 2
        server flushes all
        publish broadcast x2
        wait 10
    """)
    assert flushed.gaps == [0, 1, 0]


def test_a_deleted_journal_is_not_a_deleted_history() -> None:
    """Histories older than the new epoch are replayed once, and not for ever."""
    again = played(
        """
        publish broadcast x9
        server trims the journal to 0
        client 0 comes to 1 claiming earliest
        client 1 comes to 1 claiming nonsense
        wait 5
    """,
        page=2,
    )
    assert again.events[:2] == [11, 12]  # with those that end every script
    assert again.gaps[:2] == [0, 1]


def test_a_journal_trimmed_past_the_watermark_is_not_a_loss() -> None:
    """Healing cannot know what was touched, so every connection reads for itself, and nobody is told a gap."""
    trimmed = played(
        """
        client 0 comes to 1
        client 1 comes to 1
        wait 3
        link 1 dies silently, noticed after 1
        publish broadcast x9
        publish user:b x9
        wait 5
    """,
        journal=4,
    )
    assert trimmed.heals[1] == 1
    assert trimmed.gaps == [0, 0, 0]


def test_a_failover_that_loses_events_is_told_to_those_ahead_of_it() -> None:
    """Their cursors are from a future that never came; what is kept follows from the beginning."""
    failed_over = played("""
        client 0 comes to 1
        wait 3
        publish broadcast x6
        wait 1
        server fails over, losing 3, noticed after 1.5
        wait 0.5
        client 1 comes to 1 claiming future
        wait 10
    """)
    assert failed_over.gaps[0] == 1
