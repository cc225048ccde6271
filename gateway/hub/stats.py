"""What the hub counts: plain integers on the hot path, read by metrics when somebody asks."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..distribution import Distribution

LATE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
FAN_OUT_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)


@dataclass(slots=True)
class HubStats:
    """Counters since start.

    fan_out  seconds that a flush took: what waited was written to all live streams it is for
    late     seconds from an event's publish to the end of the flush that wrote it; of those in one flush, the oldest
    """

    dispatched: int = 0
    delivered: int = 0
    delivered_bytes: int = 0
    fell_behind: int = 0
    gaps_told: int = 0
    late: Distribution = field(default_factory=lambda: Distribution(*LATE_BUCKETS))
    fan_out: Distribution = field(default_factory=lambda: Distribution(*FAN_OUT_BUCKETS))
