"""What handlers count: one registry for a process, complete from the start."""

from __future__ import annotations

from telemetry.scraping import made, samples

from gateway.hub import CloseReason


async def test_two_processes_worth_of_metrics_do_not_mix() -> None:
    """Each gateway has a registry of its own, so that two can live in one process, as in tests."""
    _, one = made()
    _, two = made()
    one.metrics.opened.inc()
    assert samples(one)["gateway_connections_opened_total", ()] == 1
    assert samples(two)["gateway_connections_opened_total", ()] == 0


async def test_what_is_counted_by_a_known_reason_begins_at_0() -> None:
    """A series that begins with its first event has no increase then: the first of its kind would alert nobody."""
    _, made_now = made()
    now = samples(made_now)
    assert [now["gateway_connections_closed_total", (reason.value,)] for reason in CloseReason] == [0] * len(
        CloseReason
    )
    assert now["gateway_connections_refused_total", ("max_connections",)] == 0
    assert now["gateway_events_published_total", ("topic", "unavailable")] == 0


async def test_there_is_no_second_series_for_each() -> None:
    """`_created` tells nobody anything, and doubles what Prometheus keeps."""
    _, now = made()
    assert not [name for name, _ in samples(now) if name.endswith("_created")]


async def test_the_process_is_told_too() -> None:
    """Descriptors, their limit, memory and CPU, under the names that every dashboard knows."""
    _, now = made()
    told = samples(now)
    assert 0 < told["process_open_fds", ()] < told["process_max_fds", ()]
    assert told["process_resident_memory_bytes", ()] > 1e6
    assert told["process_cpu_seconds_total", ()] > 0
    assert told["process_start_time_seconds", ()] > 1e9
