"""The server's clock, as probes tell it."""

from __future__ import annotations

import time

from broker.listening import publish
from broker.redis.processes import ALICE, running
from servers import RedisServer, until

from gateway.broker.redis.clock import PROBES, ServerClock


def test_nothing_is_known_before_the_first_probe() -> None:
    """And nothing is made up."""
    assert ServerClock().at(5) is None


def test_a_stamp_is_of_the_middle_of_the_way() -> None:
    """Sent at 10, back at 12: what the server's clock said, it said at 11."""
    clock = ServerClock()
    clock.stamped(10, 12, 1_000)
    assert clock.at(11) == 1_000
    assert clock.at(20) == 1_009


def test_the_fastest_probe_is_believed() -> None:
    """One that was held up somewhere, there or back, knows less."""
    clock = ServerClock()
    clock.stamped(10, 10.002, 1_000.001)
    clock.stamped(11, 14, 1_001.001)
    assert clock.at(10.001) == 1_000.001


def test_an_old_probe_is_forgotten() -> None:
    """However fast it was: clocks are set, and drift."""
    clock = ServerClock()
    clock.stamped(0, 0.001, 1_000)
    for number in range(PROBES):
        clock.stamped(number, number + 0.2, 2_000 + number + 0.1)
    assert clock.at(0) == 2_000


def test_another_server_has_another_clock() -> None:
    """After a lost link the next probe counts alone, however long it took; until then the old time is kept."""
    clock = ServerClock()
    clock.stamped(10, 12, 1_000)
    clock.begin_anew()
    assert clock.at(11) == 1_000
    clock.stamped(20, 24, 5)
    assert clock.at(22) == 5


async def test_probes_are_timed_and_tell_the_time(redis_server: RedisServer) -> None:
    """With a real server: here both read the same clock, so the difference is no more than a probe took."""
    async with running(redis_server.url) as (broker, heard):
        assert broker.now_ms() is None
        await until(lambda: broker.now_ms() is not None, what="a probe came back")
        assert sum(broker.stats.probe.counts) >= 1
        told = broker.now_ms()
        assert told is not None
        assert abs(told / 1000 - time.time()) <= broker.stats.probe.sum / 2 + 0.1
        await broker.subscribe(ALICE)
        (id,) = await publish(broker, ALICE, 1)
        await heard.hears(1)
        now = broker.now_ms()
        assert now is not None
        assert abs(now - id.ms) < 5_000
