"""The JavaScript client in a real Chromium: one stream for all tabs, whatever becomes of tabs, network and gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from browser.chromium import needs_chromium
from browser.tabs import Application, application, one_browser
from integration.helping import Publishing, over, post, publishing
from redis.asyncio import Redis
from servers import GatewayProcess, until
from streams import assert_clean

pytestmark = [needs_chromium, pytest.mark.slow]


@pytest.fixture(scope="module")
def browser() -> Iterator[str]:
    with one_browser() as address:
        yield address


async def more(published: Publishing, count: int = 30) -> None:
    """Wait until so many more numbers were published."""
    reached = len(published.acknowledged) + count
    await until(lambda: len(published.acknowledged) >= reached)


async def all_clean(app: Application, published: Publishing) -> None:
    """Every tab heard every number once, in order, and of no gap."""
    await app.heard(published.acknowledged)
    for tab in app.tabs:
        assert_clean(await tab.numbers(), published.acknowledged)
        assert (await tab.report())["gaps"] == []


async def number(app: Application, data: int, user: str = "alice") -> str:
    answer = await post(app.gateway.url, f"/v1/users/{user}/events", {"event_type": "number", "data": data})
    return str(answer["id"])


async def test_ten_tabs_have_one_stream(browser: str, redis_url: str, prefix: str) -> None:
    """All hear every number once, in order, while the leading tab is closed and the gateway dies and comes back."""
    async with application(browser, over(redis_url, prefix)) as app:
        first = await app.open()
        await asyncio.gather(*(app.open() for _ in range(9)))
        assert await app.leader() is first
        assert await app.connections() == 1
        async with publishing(app.gateway.url) as published:
            await more(published)
            await app.close(first)
            await more(published)
            await app.leader()
            app.gateway.kill()
            await app.gateway.wait()
            await app.gateway.start()
            await more(published)
        await all_clean(app, published)
        assert len(app.tabs) == 9
        assert await app.connections() == 1


async def test_a_tab_that_freezes_gives_the_lead_away(browser: str, redis_url: str, prefix: str) -> None:
    """Another goes on where it was; thawed, it hears what it missed, and the others hear nothing twice."""
    async with application(browser, over(redis_url, prefix)) as app:
        leader = await app.open()
        for _ in range(2):
            await app.open()
        async with publishing(app.gateway.url) as published:
            await more(published)
            await leader.call("Page.setWebLifecycleState", state="frozen")
            others = [tab for tab in app.tabs if tab is not leader]
            await app.heard(published.acknowledged, *others)
            await more(published)
            await app.heard(published.acknowledged, *others)
            await leader.call("Page.setWebLifecycleState", state="active")
            await more(published)
        await all_clean(app, published)
        await app.leader()
        assert await app.connections() == 1


async def test_a_tab_that_hangs_is_not_waited_for(browser: str, redis_url: str, prefix: str) -> None:
    """Its stream is silent to the others: one of them takes over. It hears the rest when it has come to itself."""
    async with application(browser, over(redis_url, prefix, GATEWAY_HEARTBEAT_INTERVAL="0.4")) as app:
        leader = await app.open()
        other = await app.open()
        async with publishing(app.gateway.url) as published:
            await more(published)
            busy = "setTimeout(() => { for (const end = Date.now() + 4000; Date.now() < end; ); window.awake = true; })"
            await leader.evaluate(busy)
            await until(other.leads, within=30, what="the other tab leads")
            await more(published)
            await app.heard(published.acknowledged, other)

            async def awake() -> Any:
                return await leader.evaluate("window.awake")

            await until(awake, within=30, what="the first tab is awake")
            await more(published)
        await all_clean(app, published)
        assert await app.connections() == 1


async def test_users_never_share(browser: str, redis_url: str, prefix: str) -> None:
    """Nor do those who show the gateway nothing that says who they are, unless the page does."""
    async with application(browser, over(redis_url, prefix)) as app:
        alice = [await app.open("alice") for _ in range(2)]
        bob = await app.open("bob")
        tickets = [await app.open("alice", options={"by": "ticket"}) for _ in range(2)]
        named = [await app.open("alice", options={"by": "ticket", "shared": "alice"}) for _ in range(2)]
        topics = await app.open("alice", options={"topics": ["orders"]})
        assert await app.connections() == 1 + 1 + 2 + 1 + 1
        await number(app, 1, "alice")
        await number(app, 2, "bob")
        of_alice = [*alice, *tickets, *named, topics]
        await app.heard([1], *of_alice, bob)
        assert [await tab.numbers() for tab in of_alice] == [[1]] * 7
        assert await bob.numbers() == [2]


async def test_offline_and_back(browser: str, redis_url: str, prefix: str) -> None:
    """The network goes and comes again: the tab says so, and has what was published meanwhile."""
    async with application(browser, over(redis_url, prefix)) as app:
        tab = await app.open()
        async with publishing(app.gateway.url) as published:
            await more(published)
            await tab.offline(True)

            async def connecting() -> bool:
                return await tab.state() == "connecting"

            await until(connecting, what="the tab is without a stream")
            await more(published)
            await tab.offline(False)
            await app.opened(tab)
            await more(published)
        await all_clean(app, published)


async def test_a_token_is_renewed_before_it_ends(browser: str, redis_url: str, prefix: str) -> None:
    """A stream with the new one takes the old one's place; no tab loses anything, nor is any told of an end."""
    async with application(browser, over(redis_url, prefix)) as app:
        app.token_seconds = 32  # the gateway tells of the end 30 s ahead
        leader = await app.open(random=0.01)  # which is what the client waits, of half the time that is left
        follower = await app.open()
        app.token_seconds = 600
        given = app.tokens_given
        async with publishing(app.gateway.url) as published:

            async def renewed() -> bool:
                return await app.opened_in_all() == 2

            await until(renewed, within=30, what="there is a second stream")
            await more(published)
        await all_clean(app, published)
        assert app.tokens_given == given + 1
        assert await app.connections() == 1
        for tab in (leader, follower):
            assert {state for state, _ in (await tab.report())["states"]} == {"connecting", "open"}


async def test_a_gap_is_told_to_every_tab_once(browser: str, redis_url: str, prefix: str) -> None:
    """What was deleted while nobody was connected is told; what is kept follows."""
    async with application(browser, over(redis_url, prefix)) as app, Redis.from_url(redis_url) as redis:
        for _ in range(3):
            await app.open()
        await number(app, 1)
        await app.heard([1])
        app.gateway.kill()
        await app.gateway.wait()
        async with GatewayProcess(over(redis_url, prefix), "--dev") as other:
            await post(other.url, "/v1/users/alice/events", {"event_type": "number", "data": 2})
            await redis.delete(f"{prefix}:history:user:alice")
            oldest = await post(other.url, "/v1/users/alice/events", {"event_type": "number", "data": 3})
        await app.gateway.start()
        for tab in app.tabs:
            await tab.try_now()
        await app.heard([1, 3])
        for tab in app.tabs:
            report = await tab.report()
            assert await tab.numbers() == [1, 3]
            assert [gap["oldest"] for gap in report["gaps"]] == [oldest["id"]]


async def test_a_tab_that_begins_earlier_hears_the_past_alone(browser: str, redis_url: str, prefix: str) -> None:
    """It replays from where it says, or is told a gap; the others hear none of it, and go on."""
    async with application(browser, over(redis_url, prefix)) as app:
        first = await app.open()
        ids = [await number(app, n) for n in range(4)]
        await app.heard([0, 1, 2, 3])
        later = await app.open(options={"lastEventId": ids[1]})
        await app.heard([2, 3], later)
        never = await app.open(options={"lastEventId": "9999999999999-0"})
        await app.heard([0, 1, 2, 3], never)
        newest = await app.open(options={"lastEventId": ids[3]})
        await number(app, 4)
        await app.heard([0, 1, 2, 3, 4], first, never)
        await app.heard([4], newest)
        assert await first.numbers() == await never.numbers() == [0, 1, 2, 3, 4]
        assert await later.numbers() == [2, 3, 4]
        assert await newest.numbers() == [4]
        assert [len((await tab.report())["gaps"]) for tab in (first, later, never, newest)] == [0, 0, 1, 0]
        assert await app.connections() == 1


async def test_a_native_eventsource_with_a_cookie(browser: str, redis_url: str, prefix: str) -> None:
    """For who prefers the browser's own: it comes back, and tabs share it as well."""
    async with application(browser, over(redis_url, prefix)) as app:
        options = {"by": "none", "eventSource": True, "withCredentials": True, "types": ["number"], "shared": "alice"}
        tab = await app.open(options=options, wait=False, cookie=True)
        await app.opened(tab)
        await app.open(options=options)
        async with publishing(app.gateway.url) as published:
            await more(published)
            app.gateway.kill()
            await app.gateway.wait()
            await app.gateway.start()
            await more(published)
        await all_clean(app, published)
        assert await app.connections() == 1


async def test_a_page_that_is_left_and_come_back_to(browser: str, redis_url: str, prefix: str) -> None:
    """It lets go of stream and lead when it is left; taken from the browser's cache, it hears what it missed."""
    async with application(browser, over(redis_url, prefix)) as app:
        leader = await app.open()
        other = await app.open()
        async with publishing(app.gateway.url) as published:
            await more(published)
            await leader.evaluate("void (location.href = '/away')")
            await until(other.leads, within=30, what="the other tab leads")
            await more(published)
            await leader.evaluate("void history.back()")

            async def back() -> Any:
                return await leader.evaluate("window.report?.events.length")

            await until(back, within=30, what="the page is back, as it was")
            await more(published)
        await all_clean(app, published)
        assert await app.connections() == 1
