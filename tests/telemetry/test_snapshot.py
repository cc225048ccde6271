"""A scrape shows the moment it was made: what hub, relay and broker count is read then."""

from __future__ import annotations

import asyncio

import pytest
from broker.listening import publication
from hub.sinks import RecordingSink, dispatch, entry, joined, live
from telemetry.scraping import Made, made, samples

from gateway import __version__
from gateway.distribution import Distribution
from gateway.hub import Cause, CloseReason, Connection, Guide, Hub
from gateway.ids import EventId
from gateway.relay import Outcome
from gateway.telemetry.snapshot import histogram


async def never_drains() -> None:
    await asyncio.Event().wait()


async def opened(now: Made, *channels: str, cursor: EventId | None = None) -> Connection:
    """A connection that the relay has positioned and attached; not caught up yet."""
    connection = Connection(channels or ("user:a",), cursor)
    await now.relay.open(connection)
    connection.attach(RecordingSink(), chunked=True)
    return connection


def catch_ups(now: Made) -> dict[tuple[str, ...], float]:
    return {
        labels: value for (name, labels), value in samples(now).items() if name == "gateway_catch_ups_total" and value
    }


async def test_a_scrape_reads_the_hub_as_it_is() -> None:
    """Nothing is copied on the hot path: what the hub counts is read when it is asked for."""
    hub, now = made()
    assert samples(now)["gateway_connections", ("catching_up",)] == 0
    connection = Connection(["broadcast", "user:alice"])
    hub.join(connection)
    hub.stats.delivered = 7
    told = samples(now)
    assert told["gateway_connections", ("catching_up",)] == 1
    assert told["gateway_channels", ()] == 2
    assert told["gateway_events_delivered_total", ()] == 7
    hub.leave(connection)
    assert samples(now)["gateway_connections", ("catching_up",)] == 0


async def test_states_and_what_waits_are_those_of_all_connections() -> None:
    """One live, one behind with bytes in its socket, one that has no socket yet."""
    hub, now = made()
    live(hub)
    _, stalled = live(hub, "user:b", stalled=True)
    hub.join(Connection(["user:c"]))
    size = 0
    for number in range(1, 400):
        dispatch(hub, entry(number, "user:b", size=1000))
        size = size or stalled.waiting
    told = samples(now)
    assert [told["gateway_connections", (state,)] for state in ("catching_up", "live", "behind")] == [1, 1, 1]
    assert told["gateway_buffer_bytes", ()] == stalled.waiting > size
    assert told["gateway_fell_behind_total", ()] == 1
    assert told["gateway_tail_bytes", ()] == hub.tail_bytes > 399 * 1000


async def test_the_link_is_down_until_the_broker_is_heard() -> None:
    """1 while announcements are heard, else 0; what the broker counts is shown."""
    _, now = made()
    assert samples(now)["gateway_broker_link_up", ()] == 0
    await now.relay.start()
    now.broker.stats.reconnects = 3
    now.broker.stats.probe.observe(0.002)
    told = samples(now)
    assert told["gateway_broker_link_up", ()] == 1
    assert told["gateway_broker_reconnects_total", ()] == 3
    assert told["gateway_broker_probe_seconds_count", ()] == 1
    assert abs(told["gateway_broker_clock_ahead_seconds", ()]) < 1
    await now.relay.close()
    assert samples(now)["gateway_broker_link_up", ()] == 0


async def test_a_clock_that_is_not_known_is_not_told() -> None:
    """0 would say that the clocks agree."""
    _, now = made()
    now.broker.now_ms = lambda: None  # type: ignore[method-assign]
    assert ("gateway_broker_clock_ahead_seconds", ()) not in samples(now)


async def test_the_version_is_told() -> None:
    """gateway_build_info names the version that runs."""
    _, now = made()
    assert samples(now)["gateway_build_info", (__version__,)] == 1


def test_a_distribution_is_a_histogram() -> None:
    """Buckets add up, the last is +Inf, and count and sum are those of all."""
    measured = Distribution(0.5, 1, 2.5)
    for value in (0.2, 0.5, 0.7, 2, 9):
        measured.observe(value)
    told = {(sample.name, sample.labels.get("le")): sample.value for sample in histogram("x", "doc", measured).samples}
    assert told == {
        ("x_bucket", "0.5"): 2,
        ("x_bucket", "1.0"): 3,
        ("x_bucket", "2.5"): 4,
        ("x_bucket", "+Inf"): 5,
        ("x_count", None): 5,
        ("x_sum", None): 12.4,
    }


# How late events are


@pytest.mark.parametrize("channels", [["user:a", "user:a"], ["user:a", "user:b"]], ids=["one channel", "several"])
async def test_lateness_is_told_once_for_a_flush(channels: list[str]) -> None:
    """By the clock that ids are made of, of the oldest event in it, however many events and streams there are."""
    clock = 1_000.0
    hub = Hub(now_ms=lambda: clock)
    for channel in (*channels, "broadcast"):
        for _ in range(3):
            live(hub, channel)
    hub.dispatch(entry(990, channels[0]))
    hub.dispatch(entry(1_000, channels[1]))
    clock = 1_040.0
    hub.flush()
    assert sum(hub.stats.late.counts) == 1
    assert hub.stats.late.sum == pytest.approx(0.05)
    assert sum(hub.stats.fan_out.counts) == 1


async def test_an_event_that_nobody_waits_for_is_not_late() -> None:
    """Only what was written to somebody is measured: of the others nobody knows when they will be read."""
    hub = Hub(now_ms=lambda: 1e9)
    joined(hub)
    dispatch(hub, entry(1), entry(2, "user:nobody"))
    assert sum(hub.stats.late.counts) == sum(hub.stats.fan_out.counts) == 0


async def test_an_event_without_an_id_has_no_time() -> None:
    """What was published past the history says nothing of when."""
    hub = Hub(now_ms=lambda: 1e9)
    live(hub)
    dispatch(hub, entry(1, retained=False))
    assert sum(hub.stats.late.counts) == 0
    assert sum(hub.stats.fan_out.counts) == 1


async def test_a_clock_that_went_back_makes_nothing_early() -> None:
    """Less than nothing is nothing."""
    hub = Hub(now_ms=lambda: 500.0)
    live(hub)
    dispatch(hub, entry(1_000))
    assert hub.stats.late.sum == 0
    assert hub.stats.late.counts[0] == 1


# Catching up


async def test_newcomers_and_returners_are_told_apart() -> None:
    """Without a cursor: new. With one: resumed, from memory or from history."""
    _, now = made()
    await now.relay.start()
    first = await opened(now)
    assert now.relay.is_live(first)
    assert catch_ups(now) == {("new", "memory"): 1}
    (receipt,) = await now.broker.publish([publication("user:a", 1)])
    assert receipt.id is not None
    again = await opened(now, cursor=first.cursor)
    assert now.relay.is_live(again)
    elsewhere = await opened(now, "user:b", cursor=first.cursor)
    assert not now.relay.is_live(elsewhere)
    await now.relay.catch_up(elsewhere, never_drains)
    assert catch_ups(now) == {("new", "memory"): 1, ("resumed", "memory"): 1, ("resumed", "history"): 1}
    told = samples(now)
    assert told["gateway_history_reads_total", ()] >= 1
    assert told["gateway_catch_up_seconds_count", ()] == 3
    await now.relay.close()


async def test_a_gap_is_an_outcome() -> None:
    """A cursor that the broker does not know ends in a gap."""
    _, now = made()
    await now.relay.start()
    connection = await opened(now, cursor=EventId(1, 0))
    assert not now.relay.is_live(connection)
    await now.relay.catch_up(connection, never_drains)
    assert catch_ups(now) == {("resumed", "gap"): 1}
    assert samples(now)["gateway_gaps_told_total", ()] == 1
    await now.relay.close()


class Sleeping(Guide):
    def wake(self) -> None:
        pass


async def test_a_slow_client_is_caught_up_because_it_was_slow() -> None:
    """And one whose link was lost because of the link; each is counted when it is live again."""
    hub, now = made()
    await now.relay.start()
    connection = await opened(now)
    connection.guide = Sleeping()
    assert now.relay.is_live(connection)
    hub.set_back(connection)
    await now.relay.catch_up(connection, never_drains)
    sink = connection.sink
    assert isinstance(sink, RecordingSink)
    sink.stalled = True
    for _ in range(400):
        await now.broker.publish([publication("user:a", "x" * 1000)])
        hub.flush()
    assert connection.cause is Cause.SLOW
    sink.read()
    await now.relay.catch_up(connection, never_drains)
    assert {key[0] for key in catch_ups(now)} == {"new", "link", "slow"}
    assert now.relay.catch_ups[Cause.LINK, Outcome.MEMORY] == 1
    await now.relay.close()


async def test_who_leaves_before_it_is_live_did_not_catch_up() -> None:
    """Its catch-up has ended, and nobody says how fast it was."""
    _, now = made()
    await now.relay.start()
    connection = await opened(now, cursor=EventId(1, 0))
    connection.sink.write(b"")
    catching_up = asyncio.create_task(now.relay.catch_up(connection, never_drains))
    catching_up.cancel()
    await asyncio.wait({catching_up})
    closed = await opened(now)
    closed.close(CloseReason.DRAINING)
    await now.relay.catch_up(closed, never_drains)
    assert samples(now)["gateway_catch_up_seconds_count", ()] == 0
    await now.relay.close()
