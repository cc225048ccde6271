from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from aiohttp import web
from aiohttp.http_exceptions import BadHttpMethod, LineTooLong
from structlog.testing import capture_logs
from web.inprocess import Served

from gateway.web.malformed import Malformed


@pytest.fixture
def logger(gateway: Served, caplog: pytest.LogCaptureFixture) -> Iterator[logging.Logger]:
    logger = logging.getLogger("aiohttp.test")
    logger.setLevel(logging.DEBUG)
    logger.addFilter(Malformed(gateway.gateway.metrics))
    yield logger
    logger.filters.clear()


async def test_a_clients_mistake(gateway: Served, logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    """It is named and counted; nothing of the request is told, and not every one is a line."""
    errors = [LineTooLong(b"secret", 5), BadHttpMethod("secret"), web.RequestPayloadError("secret")]
    with capture_logs() as lines:
        for number in range(300):
            logger.error("Error handling request from %s", "::1", exc_info=errors[number % 3])
    assert [line["reason"] for line in lines][:3] == ["LineTooLong", "BadHttpMethod", "RequestPayloadError"]
    assert 5 <= len(lines) <= 10  # over two seconds at most
    assert "secret" not in str(lines)
    assert not caplog.records
    counted = gateway.gateway.metrics.registry.get_sample_value("gateway_requests_malformed_total")
    assert counted == 300


async def test_a_mistake_of_ours(logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    """It stays, with its traceback; what is of no interest to anybody does not."""
    logger.error("Unhandled exception", exc_info=ValueError("ours"))
    logger.error("no exception")
    logger.debug("Ignored premature client disconnection")
    assert [record.getMessage() for record in caplog.records] == ["Unhandled exception", "no exception"]
    assert caplog.records[0].exc_info is not None
