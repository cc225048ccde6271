"""One log line for each publish POST of a known publisher: by which key, how many events, and what became of them.

`publish.answered` is at level info when it was accepted, and then always written, so that every event can be led back
to a key. What was refused is at level warning, and can be caused without end: it is written sparingly.
"""

from __future__ import annotations

import time

import structlog

from ..auth.identity import Publisher
from ..telemetry.sparing import Sparing

ACCEPTED = "accepted"
LEFT = "left"
"""The publisher did not wait for the answer; the events may be stored."""

log = structlog.get_logger(__name__)
_sparing = Sparing()


def accepted(
    publisher: Publisher, kind: str, events: int, started: float, request_id: str, outcome: str = ACCEPTED
) -> None:
    log.info(
        "publish.answered",
        key=publisher.name,
        kind=kind,
        events=events,
        outcome=outcome,
        seconds=round(time.perf_counter() - started, 4),
        request_id=request_id,
    )


def refused(publisher: Publisher, kind: str, outcome: str, started: float, request_id: str) -> None:
    """The outcome is the error's word, as in the type of its problem."""
    if (left_out := _sparing.left_out()) is None:
        return
    log.warning(
        "publish.answered",
        key=publisher.name,
        kind=kind,
        events=0,
        outcome=outcome,
        seconds=round(time.perf_counter() - started, 4),
        left_out=left_out,
        request_id=request_id,
    )
