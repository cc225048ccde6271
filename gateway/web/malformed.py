"""What aiohttp logs of requests that it cannot read: a traceback for each, which quotes them, tokens and all.

Of those a line is written that says what kind of mistake it was and nothing of the request, and not more than a few in
a second; each is counted. What aiohttp logs of mistakes of ours stays as it is.
"""

from __future__ import annotations

import logging

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.log import server_logger

from ..telemetry.metrics import Metrics
from ..telemetry.sparing import Sparing

log = structlog.get_logger(__name__)


def instead_of_tracebacks(metrics: Metrics) -> None:
    """From now on, for this process."""
    server_logger.setLevel(logging.DEBUG)  # some kinds are at this level, and are counted too
    server_logger.addFilter(Malformed(metrics))


class Malformed(logging.Filter):
    """Of aiohttp's logger. It lets through what is no fault of a client."""

    def __init__(self, metrics: Metrics) -> None:
        super().__init__()
        self._metrics = metrics
        self._sparing = Sparing()

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, HttpProcessingError | web.RequestPayloadError | ConnectionError):
            return record.levelno >= logging.WARNING
        self._metrics.malformed.inc()
        if (left_out := self._sparing.left_out()) is not None:
            log.warning("http.malformed", reason=type(error).__name__, left_out=left_out)
        return False
