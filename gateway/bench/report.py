"""What a run found: as plain figures for programs, and the same as a table for people."""

from __future__ import annotations

from typing import Any

from ..events import RESERVED_PREFIX
from . import advice
from .latencies import Latencies
from .run import Run

BUSY = 0.8
"""Share of a core from which on the client is taken for the limit."""
LATE = 0.02
"""Seconds by which its event loop may be late (p99), and above: at most `OWN_PART` of the latency (p99)."""
OWN_PART = 0.5
KEPT_UP = 0.95

Figures = dict[str, Any]


def figures(run: Run) -> Figures:
    """Times in milliseconds, None where nothing was measured."""
    plan, ledger, published = run.plan, run.ledger, run.published
    sent = ledger.accepted + published.refused + published.unanswered
    seconds = published.seconds if sent < plan.events else max(published.seconds, plan.seconds)
    not_opened = sum(run.not_opened.values())
    opened = len(plan.subscribers) - not_opened
    lost = ledger.missing()
    told = {name: count for name, count in ledger.others.items() if name.startswith(RESERVED_PREFIX)}
    gaps = told.get("gateway.gap", 0)
    connections = {
        "asked": len(plan.subscribers),
        "opened": opened,
        "errors": not_opened,
        "ended_early": run.ended_early,
        "per_second": round(opened / run.connecting_seconds, 1),
    }
    posts = {
        "asked": plan.events,
        "sent": sent,
        "accepted": ledger.accepted,
        "refused": published.refused,
        "unanswered": published.unanswered,
        "per_second": round(ledger.accepted / seconds, 1),
        "latency_ms": _milliseconds(published.latencies, 50, 99),
    }
    deliveries = {
        "count": ledger.delivered,
        "lost": lost,
        "duplicates": ledger.duplicates,
        "out_of_order": ledger.out_of_order,
        "misdelivered": ledger.misdelivered,
        "told": told,
        "other_events": ledger.others.total() - sum(told.values()),
        "per_second": round(ledger.delivered / seconds, 1),
        "latency_ms": _milliseconds(ledger.latencies, 50, 95, 99, 99.9),
    }
    lag, latency = run.lag.percentile(99) or 0.0, ledger.latencies.percentile(99) or 0.0
    faults = (not_opened, run.ended_early, published.refused, published.unanswered, lost, ledger.duplicates)
    return {
        "url": plan.address.base,
        "to": str(plan.target),
        "rate": plan.rate,
        "seconds": plan.seconds,
        "run": plan.run,
        "connections": connections,
        "published": posts,
        "deliveries": deliveries,
        "client": {
            "cpu_share": round(run.cpu_share, 3),
            "lag_p99_ms": round(lag * 1000, 3),
            "was_the_limit": run.cpu_share > BUSY or lag > max(LATE, OWN_PART * latency),
        },
        "clean": not any((*faults, ledger.out_of_order, ledger.misdelivered, gaps)),
    }


def _milliseconds(latencies: Latencies, *percents: float) -> Figures:
    values = {f"p{percent:g}": latencies.percentile(percent) for percent in percents}
    values["max"] = latencies.longest if latencies.count else None
    return {name: None if value is None else round(value * 1000, 3) for name, value in values.items()}


def table(found: Figures) -> str:
    connections, posts, deliveries, client = (
        found[part] for part in ("connections", "published", "deliveries", "client")
    )
    to = {"users": "each to one user", "topic": "each to all", "broadcast": "each to everyone"}[found["to"]]
    lines = [
        f"{connections['asked']:,} connections to {found['url']}; {posts['sent']:,} events, {to}; run {found['run']}",
        "",
        _row("connects/s", connections["per_second"]),
        _row("connection errors", connections["errors"]),
        *_unless_0("streams ended early", connections["ended_early"]),
        _row("published/s", posts["per_second"]),
        *_unless_0("publishes refused", posts["refused"]),
        *_unless_0("publishes unanswered", posts["unanswered"]),
        *_latency_rows("POST", posts["latency_ms"]),
        _row("deliveries/s", deliveries["per_second"]),
        *_latency_rows("delivery", deliveries["latency_ms"]),
        _row("deliveries", deliveries["count"]),
        _row("lost", deliveries["lost"]),
        _row("duplicates", deliveries["duplicates"]),
        _row("out of order", deliveries["out_of_order"]),
        *_unless_0("at the wrong user", deliveries["misdelivered"]),
        *(line for name, count in deliveries["told"].items() for line in _unless_0(f"told {name}", count)),
        *_unless_0("others' events", deliveries["other_events"]),
        _row("this client's CPU, % of a core", client["cpu_share"] * 100),
        *_latency_rows("this client's own", {"p99": client["lag_p99_ms"]}),
    ]
    return "\n".join(lines)


def _row(label: str, value: float | None) -> str:
    if value is None:
        return f"{label:32}{'-':>12}"
    return f"{label:32}{value:12,}" if isinstance(value, int) else f"{label:32}{value:12,.1f}"


def _unless_0(label: str, value: int) -> list[str]:
    return [_row(label, value)] if value else []


def _latency_rows(of: str, latencies: Figures) -> list[str]:
    rows = ((f"{of} latency {name}, ms", value) for name, value in latencies.items())
    return [f"{label:32}{'-':>12}" if value is None else f"{label:32}{value:12,.2f}" for label, value in rows]


def remarks(run: Run, found: Figures) -> list[str]:
    """What people should know besides the figures, a line each."""
    said = []
    for counted, what, of in (
        (run.not_opened, "connections were not opened", found["connections"]["asked"]),
        (run.not_published, "events were not accepted", found["published"]["sent"]),
    ):
        if counted:
            reason, times = counted.most_common(1)[0]
            said.append(f"{counted.total():,} of {of:,} {what}; {times:,} of them: {reason}{advice.no_room(reason)}")
    if run.ended_early:
        said.append(f"{run.ended_early:,} streams ended before the run did; what they missed is not counted as lost")
    client, posts = found["client"], found["published"]
    if client["was_the_limit"]:
        used, late = f"{client['cpu_share']:.0%}", f"{client['lag_p99_ms']:.0f}"
        said.append(
            f"this client was the limit ({used} of a core, its event loop {late} ms late): much of the latencies is "
            "its own; use fewer --connections, a lower --rate, or several clients"
        )
    elif posts["per_second"] < KEPT_UP * found["rate"] and not (posts["refused"] or posts["unanswered"]):
        said.append(f"{posts['per_second']:g} of {found['rate']:g} events/s were accepted: answers came too slowly")
    return said
