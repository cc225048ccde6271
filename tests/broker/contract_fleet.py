"""What every blackboard of a fleet must do, whatever it is made of."""

from __future__ import annotations

from typing import Protocol

from servers import until

from gateway.broker.fleet import ANYBODY, Fleet

FORGET_AFTER = 0.4


class Fleets(Protocol):
    """A place where processes share a blackboard; `fleet` is another process's access to it."""

    def fleet(self) -> Fleet: ...


class FleetContract:
    async def test_every_process_reads_what_all_have_told(self, fleets: Fleets) -> None:
        """Reports are bytes, whatever is in them; a process's new one takes the place of its last."""
        one, two = fleets.fleet(), fleets.fleet()
        assert await one.reports() == []
        await one.tell("one", b"old")
        await one.tell("one", b'{"new":\n"\xc3\xa9"}')
        await two.tell("two", b"")
        for fleet in (one, two):
            assert sorted(await fleet.reports()) == [b"", b'{"new":\n"\xc3\xa9"}']

    async def test_who_does_not_report_any_more_is_forgotten(self, fleets: Fleets) -> None:
        """Those who go on are not, however long the others have been gone."""
        fleet = fleets.fleet()
        await fleet.tell("gone", b"gone")

        async def only_who_goes_on() -> bool:
            await fleet.tell("here", b"here")
            return await fleet.reports() == [b"here"]

        await until(only_who_goes_on)

    async def test_who_ends_is_forgotten_at_once(self, fleets: Fleets) -> None:
        """And nobody else is."""
        fleet = fleets.fleet()
        await fleet.tell("one", b"1")
        await fleet.tell("two", b"2")
        await fleet.forget("one")
        await fleet.forget("nobody")
        assert await fleet.reports() == [b"2"]

    async def test_all_processes_hear_whom_somebody_watches(self, fleets: Fleets) -> None:
        """With their next report, for as long as was said, and longer when it is said again."""
        one, two = fleets.fleet(), fleets.fleet()
        assert await two.tell("two", b"") == []
        await one.watch("alice", 0.3)
        await one.watch("bob", 60)
        await one.watch(ANYBODY, 60)
        assert set(await two.tell("two", b"")) >= {"bob", ANYBODY}

        async def alice_is_watched_no_more() -> bool:
            return set(await two.tell("two", b"")) == {"bob", ANYBODY}

        await until(alice_is_watched_no_more)
        await two.watch("alice", 60)
        assert set(await one.tell("one", b"")) == {"alice", "bob", ANYBODY}
