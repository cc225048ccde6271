"""SIGTERM: clients are sent elsewhere over the drain time, whole and with their cursors; SIGTERM again: now."""

from __future__ import annotations

import asyncio
import re
import signal
import time

import pytest
from integration.helping import blocks, numbers, over, post, publishing, status_of, told, two_gateways
from servers import GatewayProcess, until
from streams import Stream, assert_clean


async def test_sigterm_sends_clients_elsewhere(redis_url: str, prefix: str) -> None:
    """Every stream ends with gateway.reconnect and a retry, whole; the clients lose nothing; exit status 0."""
    draining = over(redis_url, prefix, GATEWAY_DRAIN_SECONDS="2")
    async with two_gateways(draining, over(redis_url, prefix)) as (one, two):
        streams = [Stream(one.url, "user=alice") for _ in range(20)]
        await asyncio.gather(*(stream.open() for stream in streams))
        try:
            async with publishing(two.url, per_second=200) as published:
                await asyncio.gather(*(stream.count(5) for stream in streams))
                one.terminate()
                began = time.time()

                async def unready() -> bool:
                    return (await status_of(one.url, "/readyz"))[1].get("reasons") == ["draining"]

                await until(unready, within=2)
                ends = sorted([await stream.end(within=10) - began for stream in streams])
                assert await one.wait() == 0
            assert ends[-1] - ends[0] > 1
            assert ends[-1] < 4
            for stream in streams:
                assert not stream.cut
                assert blocks(stream)[-1] == b""
                assert stream.types.count("gateway.reconnect") == 1
                assert stream.retry is not None
                assert stream.retry == told(stream, "gateway.reconnect")["retry"]
                assert 1500 <= stream.retry <= 4500
            for stream in streams[:3]:
                first = numbers(stream)[0]
                async with Stream(two.url, "user=alice", cursor=stream.last_event_id) as after:
                    await after.count(len(published.acknowledged) - first - len(numbers(stream)))
                    assert_clean(numbers(stream, after), published.acknowledged[first:])
        finally:
            await asyncio.gather(*(stream.close() for stream in streams))
        assert "Traceback" not in one.log
        assert "gateway.stopped" in one.log


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_it_at_once(redis_url: str, prefix: str, second: signal.Signals) -> None:
    """Whoever does not want to wait for the drain sends another signal; what was written is still whole."""
    settings = over(redis_url, prefix, GATEWAY_DRAIN_SECONDS="60")
    async with GatewayProcess(settings, "--dev") as gateway:
        streams = [Stream(gateway.url, "user=alice") for _ in range(10)]
        await asyncio.gather(*(stream.open() for stream in streams))
        try:
            gateway.terminate()
            await until(lambda: "gateway.draining" in gateway.log)
            for number in range(10):
                await post(gateway.url, "/v1/users/alice/events", {"event_type": "number", "data": number})
            gateway.send_signal(second)
            began = time.monotonic()
            assert await gateway.wait() == 0
            assert time.monotonic() - began < 5
            for stream in streams:
                await stream.end()
                assert blocks(stream)[-1] == b""
        finally:
            await asyncio.gather(*(stream.close() for stream in streams))


async def test_ctrl_c_is_an_orderly_end_too(redis_url: str, prefix: str) -> None:
    """SIGINT drains like SIGTERM; without streams it is over at once."""
    async with GatewayProcess(over(redis_url, prefix), "--dev") as gateway:
        began = time.monotonic()
        gateway.send_signal(signal.SIGINT)
        assert await gateway.wait() == 0
        assert time.monotonic() - began < 3
        assert "Traceback" not in gateway.log


async def test_who_comes_during_the_drain_is_sent_on(redis_url: str, prefix: str) -> None:
    """A new EventSource gets a 200 that only says when to come back; publishing still works."""
    settings = over(redis_url, prefix, GATEWAY_DRAIN_SECONDS="3")
    async with (
        GatewayProcess(settings, "--dev") as gateway,
        Stream(gateway.url, "user=alice"),
        Stream(gateway.url, "user=alice"),  # two, so that one is still open in the middle of the drain
    ):
        gateway.terminate()
        await until(lambda: "gateway.draining" in gateway.log)
        async with Stream(gateway.url, "user=bob") as late:
            await late.end()
            assert re.fullmatch(rb"retry: \d+\n\n", bytes(late.raw))
        answer = await post(gateway.url, "/v1/users/alice/events", {"event_type": "x", "data": 1})
        assert answer["id"]
