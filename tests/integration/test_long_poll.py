"""A client that polls with its cursor, over whatever happens to gateways and Redis: nothing lost, nothing twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from integration.helping import over, publishing, two_gateways
from lines import NDJSON, Poller, lines
from servers import RedisServer, until
from streams import assert_clean


@asynccontextmanager
async def polling(poller: Poller, *urls: str) -> AsyncIterator[None]:
    """Poll for as long as the body runs; after a failure at the next of these gateways."""

    async def poll_on() -> None:
        for turn in range(10**9):
            poller.url = f"{urls[turn % len(urls)]}/v1/events?user=alice"
            try:
                while True:
                    await poller.poll(wait=1)
            except (aiohttp.ClientError, TimeoutError, AssertionError) as error:
                assert not isinstance(error, AssertionError) or str(error).startswith("503 "), error
                await asyncio.sleep(0.05)

    task = asyncio.create_task(poll_on())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.slow
async def test_a_poll_loop_survives_restarts(redis_server: RedisServer, prefix: str) -> None:
    """A gateway drained, one killed, and Redis killed, while events come and one client polls either gateway."""
    settings = over(redis_server.url, prefix, GATEWAY_DRAIN_SECONDS="1")
    async with (
        two_gateways(settings) as pair,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http,
    ):
        poller = Poller(http, pair.one.url, "user=alice")
        await poller.poll(wait=0)
        async with polling(poller, pair.one.url, pair.two.url):
            async with publishing(pair.one.url, pair.two.url, per_second=50) as state:

                async def more(number: int = 20) -> None:
                    wanted = len(state.acknowledged) + number
                    await until(lambda: len(state.acknowledged) >= wanted, within=20, what="events go on")

                await more()
                pair.one.terminate()
                await pair.one.wait()
                await more()
                await pair.one.start()
                pair.two.kill()
                await pair.two.wait()
                await more()
                await pair.two.start()
                await redis_server.restart()
                await more()
            await until(lambda: len(poller.events) >= len(state.acknowledged), within=20, what="all are polled")
        assert_clean([event["data"] for event in poller.events], state.acknowledged)
        assert poller.gaps == []
        assert len({event["id"] for event in poller.events}) == len(state.acknowledged)


async def test_a_cursor_is_good_in_every_form(redis_url: str, prefix: str) -> None:
    """A poll goes on where a stream of lines on another process was, and the other way round."""
    async with two_gateways(over(redis_url, prefix)) as pair, aiohttp.ClientSession() as http:
        async with publishing(pair.two.url, per_second=50) as state:
            async with lines(pair.one.url, "user=alice&last_event_id=earliest") as stream:
                await stream.count(5)
            await until(lambda: len(state.acknowledged) > len(stream.events) + 2)
        poller = Poller(http, pair.two.url, "user=alice", stream.cursor)
        while (await poller.poll(wait=0))["events"]:
            pass
        got = [event["data"] for event in (*stream.events, *poller.events)]
        assert_clean(got, state.acknowledged)
        async with lines(pair.one.url, "user=alice", cursor=poller.events[-2]["id"], accept=NDJSON) as again:
            assert [event["data"] for event in await again.count(1)] == state.acknowledged[-1:]
