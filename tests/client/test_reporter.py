from __future__ import annotations

from logging import ERROR, WARNING

import pytest
from structlog.typing import EventDict

from gateway.client import reporter
from gateway.client.reporter import Reporter, Throttle


def test_one_of_a_key_passes_in_the_interval() -> None:
    """The first passes, those within the interval do not, and the next one tells how many they were."""
    throttle = Throttle(10)
    assert throttle.admit("a", 0) == 0
    assert throttle.admit("a", 5) is None
    assert throttle.admit("a", 9.9) is None
    assert throttle.admit("a", 10) == 2
    assert throttle.admit("a", 20) == 0


def test_keys_do_not_hold_each_other_back() -> None:
    """Each key has its own interval."""
    throttle = Throttle(10)
    assert throttle.admit("a", 0) == 0
    assert throttle.admit("b", 0) == 0


def test_a_line_says_how_many_it_stands_for(logs: list[EventDict]) -> None:
    """What was suppressed is counted in the next line of the same reason."""
    moments = iter((0.0, 1.0, 2.0, 31.0))
    report = Reporter(lambda: next(moments), interval=30)
    for _ in range(4):
        report.failure(WARNING, "sse.publish_failed", "timeout", channel="user", detail=None)
    assert logs == [
        {"event": "sse.publish_failed", "reason": "timeout", "channel": "user", "log_level": "warning"},
        {
            "event": "sse.publish_failed",
            "reason": "timeout",
            "channel": "user",
            "suppressed": 2,
            "log_level": "warning",
        },
    ]


def test_a_log_that_cannot_be_written_hurts_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in logging stays there."""
    tried = []

    class Broken:
        def log(self, level: int, name: str, **fields: object) -> None:
            tried.append(name)
            raise OSError("No space left on device")

    monkeypatch.setattr(reporter, "_log", Broken())
    Reporter(lambda: 0.0).failure(ERROR, "sse.publish_failed", "timeout")
    Reporter(lambda: 0.0).change(ERROR, "sse.publishing_resumed")
    assert tried == ["sse.publish_failed", "sse.publishing_resumed"]
