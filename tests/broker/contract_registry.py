"""The contract of `gateway.broker.registry.Registry`, as tests that every adapter passes."""

from __future__ import annotations

import asyncio

import pytest
from broker.registering import LIMIT, TICKETS, Registries, counts, turns
from servers import until

from gateway.broker.registry import TICKET_SECONDS, Verdict
from gateway.errors import NotAllowed, RateLimited

ALICE, BOB = "alice", "bob"
ADMITTED, FULL, KEPT_AWAY, VOID = Verdict.ADMITTED, Verdict.FULL, Verdict.KEPT_AWAY, Verdict.VOID


class CountContract:
    async def test_streams_are_counted_over_all_processes(self, registries: Registries) -> None:
        """Whoever is asked knows of all streams of a user, and of nobody else's."""
        one, two = await registries.member(), await registries.member()
        assert await one.registry.connections(ALICE) == 0
        assert await one.fills(ALICE, 2) + await two.fills(ALICE, 1) == [ADMITTED] * 3
        assert await two.fills(BOB, 1) == [ADMITTED]
        for member in (one, two):
            assert await member.registry.connections(ALICE) == 3
            assert await member.registry.connections(BOB) == 1

    async def test_who_left_is_not_counted(self, registries: Registries) -> None:
        """Soon after it left, everywhere."""
        one, two = await registries.member(), await registries.member()
        await one.fills(ALICE, 2)
        one.registry.leave(ALICE)
        assert one.registry.here(ALICE) == 1
        await counts(two, ALICE, 1)
        one.registry.leave(ALICE)
        await counts(two, ALICE, 0)

    async def test_the_limit_is_that_of_all_processes(self, registries: Registries) -> None:
        """A user who has as many as the limit allows gets no further one anywhere, until one left."""
        one, two = await registries.member(), await registries.member()
        assert await one.fills(ALICE, LIMIT - 1) + await two.fills(ALICE, 3) == [ADMITTED] * LIMIT + [FULL] * 2
        assert await one.fills(ALICE, 1) == [FULL]
        assert await one.fills(BOB, 1) == [ADMITTED]
        one.registry.leave(ALICE)
        await counts(two, ALICE, LIMIT - 1)
        assert await two.fills(ALICE, 2) == [ADMITTED, FULL]

    async def test_the_limit_holds_for_those_who_come_at_once(self, registries: Registries) -> None:
        """However many ask on however many processes in one moment."""
        members = [await registries.member() for _ in range(3)]
        for user in (f"user-{number}" for number in range(20)):
            verdicts = await asyncio.gather(*(member.registry.enter(user) for member in members for _ in range(5)))
            assert sorted(verdicts) == sorted([ADMITTED] * LIMIT + [FULL] * (15 - LIMIT))
            assert await members[0].registry.connections(user) == LIMIT

    async def test_no_limit(self, registries: Registries) -> None:
        """0 lets in whoever comes."""
        one = await registries.member(limit=0)
        assert await one.fills(ALICE, 100) == [ADMITTED] * 100

    async def test_many_users_at_once(self, registries: Registries) -> None:
        """Of two thousand newcomers in one moment each is counted, and each goes."""
        one, two = await registries.member(), await registries.member()
        users = [f"user-{number}" for number in range(1000)]
        verdicts = await asyncio.gather(*(member.registry.enter(user) for user in users for member in (one, two)))
        assert set(verdicts) == {ADMITTED}
        assert await asyncio.gather(*(one.registry.connections(user) for user in users)) == [2] * 1000
        for user in users:
            one.registry.leave(user)
            two.registry.leave(user)
        for user in users:
            await counts(two, user, 0)

    async def test_who_gave_up_is_not_counted(self, registries: Registries) -> None:
        """A newcomer that was cancelled while it was asked for has taken no place, at whatever moment that was."""
        one, two = await registries.member(), await registries.member()
        for moment in range(8):
            tasks = [asyncio.create_task(one.registry.enter(ALICE)) for _ in range(LIMIT)]
            await turns(moment)
            for task in tasks:
                task.cancel()
            for verdict in await asyncio.gather(*tasks, return_exceptions=True):
                if verdict is ADMITTED:
                    one.registry.leave(ALICE)
            await counts(two, ALICE, 0)
            assert one.registry.here(ALICE) == 0


class AwayContract:
    async def test_all_processes_are_told(self, registries: Registries) -> None:
        """Who is sent away is told to every process within two seconds; the answer is how many streams there were."""
        one, two = await registries.member(), await registries.member()
        await one.fills(ALICE, 1)
        await two.fills(ALICE, 2)
        assert await one.registry.send_away(ALICE) == 3
        for member in (one, two):
            await until(lambda m=member: m.told == [ALICE], within=2)  # type: ignore[misc]
        one.registry.leave(ALICE)
        assert await one.fills(ALICE, 1) == [ADMITTED]

    async def test_a_user_who_is_kept_away(self, registries: Registries) -> None:
        """Is let in nowhere, for as long as was said, whoever else is."""
        one, two = await registries.member(), await registries.member()
        assert await one.registry.send_away(ALICE, 600) == 0
        assert await one.fills(ALICE, 1) + await two.fills(ALICE, 1) == [KEPT_AWAY] * 2
        assert await two.fills(BOB, 1) == [ADMITTED]
        await registries.elapse(590)
        assert (await two.fills(ALICE, 1)) == [KEPT_AWAY]
        await registries.elapse(20)
        assert await two.fills(ALICE, 1) == [ADMITTED]

    async def test_what_was_said_last_counts(self, registries: Registries) -> None:
        """A shorter time takes the place of a longer one, none leaves it as it is, and 0 lets the user in again."""
        one, two = await registries.member(), await registries.member()
        await one.registry.send_away(ALICE, 6000)
        await one.registry.send_away(ALICE, 60)
        await two.registry.send_away(ALICE)
        assert await one.fills(ALICE, 1) == [KEPT_AWAY]
        await registries.elapse(70)
        assert await one.fills(ALICE, 1) == [ADMITTED]
        await two.registry.send_away(ALICE, 600)
        await two.registry.send_away(ALICE, 0)
        assert await one.fills(ALICE, 1) + await two.fills(ALICE, 1) == [ADMITTED] * 2

    async def test_nobody_slips_through(self, registries: Registries) -> None:
        """Whoever was admitted about the time of a revocation is found by it: no stream of before it remains."""
        members = [await registries.member(limit=0) for _ in range(2)]
        for turn in range(10):
            coming = [asyncio.create_task(members[number % 2].comes(ALICE)) for number in range(20)]
            await turns(turn)
            await members[0].registry.send_away(ALICE, 600)
            await asyncio.gather(*coming)
            await counts(members[0], ALICE, 0, within=2)
            assert await members[1].fills(ALICE, 1) == [KEPT_AWAY]
            await members[0].registry.send_away(ALICE, 0)


class TicketContract:
    async def test_a_ticket_is_for_one(self, registries: Registries) -> None:
        """Of a hundred who show the same ticket at once, on two processes, one is admitted."""
        one, two = await registries.member(limit=0), await registries.member(limit=0)
        await one.registry.issue(ALICE, "digest", b"alice's")
        assert await two.registry.holder("digest") == b"alice's"
        verdicts = await asyncio.gather(*(m.registry.enter(ALICE, "digest") for _ in range(50) for m in (one, two)))
        assert sorted(verdicts) == sorted([ADMITTED] + [VOID] * 99)
        assert await two.registry.connections(ALICE) == 1

    async def test_a_ticket_that_never_was(self, registries: Registries) -> None:
        """Nobody has it, and nobody is let in with it; nor with somebody else's."""
        one = await registries.member()
        await one.registry.issue(BOB, "digest", b"bob's")
        assert await one.registry.holder("other") is None
        assert await one.registry.enter(ALICE, "other") is VOID
        assert await one.registry.enter(ALICE, "digest") is VOID
        assert await one.registry.enter(BOB, "digest") is ADMITTED

    async def test_a_ticket_expires(self, registries: Registries) -> None:
        """After its time it has no holder, and is void."""
        one = await registries.member()
        await one.registry.issue(ALICE, "digest", b"alice's")
        await registries.elapse(TICKET_SECONDS + 1)
        assert await one.registry.holder("digest") is None
        assert await one.registry.enter(ALICE, "digest") is VOID

    async def test_who_found_no_room_keeps_the_ticket(self, registries: Registries) -> None:
        """It is used up by the admission only."""
        one = await registries.member()
        await one.fills(ALICE, LIMIT)
        await one.registry.issue(ALICE, "digest", b"alice's")
        assert await one.registry.enter(ALICE, "digest") is FULL
        one.registry.leave(ALICE)
        assert await one.registry.enter(ALICE, "digest") is ADMITTED
        one.registry.leave(ALICE)
        assert await one.registry.enter(ALICE, "digest") is VOID

    async def test_a_user_has_so_many(self, registries: Registries) -> None:
        """One more is refused, until one was used or has expired; others get theirs."""
        one = await registries.member(limit=0)
        for number in range(TICKETS):
            await one.registry.issue(ALICE, f"digest-{number}", b"")
        with pytest.raises(RateLimited):
            await one.registry.issue(ALICE, "one-more", b"")
        assert await one.registry.enter(ALICE, "one-more") is VOID
        await one.registry.issue(BOB, "bobs", b"")
        await one.registry.enter(ALICE, "digest-0")
        await one.registry.issue(ALICE, "one-more", b"")
        await registries.elapse(TICKET_SECONDS + 1)
        for number in range(TICKETS):
            await one.registry.issue(ALICE, f"digest-{number}", b"")

    async def test_being_sent_away_takes_them_back(self, registries: Registries) -> None:
        """Tickets from before are void, with and without a time; who is kept away gets no new ones."""
        one, two = await registries.member(), await registries.member()
        await one.registry.issue(ALICE, "before", b"")
        await two.registry.send_away(ALICE)
        assert await one.registry.enter(ALICE, "before") is VOID
        await one.registry.issue(ALICE, "after", b"")
        await two.registry.send_away(ALICE, 600)
        assert await one.registry.enter(ALICE, "after") is KEPT_AWAY
        with pytest.raises(NotAllowed):
            await one.registry.issue(ALICE, "again", b"")
        await two.registry.send_away(ALICE, 0)
        assert await one.registry.enter(ALICE, "after") is VOID
        assert await one.registry.enter(ALICE, "again") is VOID


class FleetContract:
    async def test_processes_know_of_each_other(self, registries: Registries) -> None:
        """How many live, and how many others have too much to do; who has ended, or has time again, is not counted."""
        one, two, three = [await registries.member() for _ in range(3)]
        if not registries.apart:
            assert one.registry.fleet() == (1, 0)
            one.overloaded = True
            assert one.registry.fleet() == (1, 0), "it is no other"
            return
        await until(lambda: one.registry.fleet() == (3, 0))
        one.overloaded = two.overloaded = True
        await until(lambda: [member.registry.fleet().overloaded for member in (one, two, three)] == [1, 1, 2])
        one.overloaded = False
        await until(lambda: [member.registry.fleet().overloaded for member in (one, two, three)] == [1, 0, 1])
        await two.registry.close()
        await until(lambda: one.registry.fleet() == (2, 0))


class LifeContract:
    async def test_health(self, registries: Registries) -> None:
        """A registry that can ask says nothing; one that is closed says why it cannot."""
        one = await registries.member()
        assert await one.fills(ALICE, 1) == [ADMITTED]
        assert one.registry.health() is None
        await one.registry.close()
        assert one.registry.health()
        assert one.registry.failed() is None, "closed on purpose is not failed"

    async def test_close_twice(self, registries: Registries) -> None:
        """Closing ends every task, whoever waits gets away, and it may be done again."""
        before = asyncio.all_tasks()
        one = await registries.member()
        waiting = [asyncio.create_task(one.registry.enter(f"user-{number}")) for number in range(20)]
        await turns(2)
        one.registry.leave(ALICE)
        await one.registry.close()
        await asyncio.wait(waiting, timeout=10)
        assert asyncio.all_tasks() == before
        await one.registry.close()
