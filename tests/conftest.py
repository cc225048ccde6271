"""What every folder of tests may ask for: a Redis to share, one to break, and a prefix of one's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest
import pytest_asyncio
from servers import RedisServer


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """One server for the whole session; tests keep apart by their `prefix`."""
    with RedisServer() as server:
        yield server.url


@pytest.fixture
def prefix() -> str:
    """A channel prefix that no other test uses."""
    return f"test-{uuid4().hex}"


@pytest_asyncio.fixture
async def redis_server() -> AsyncIterator[RedisServer]:
    """A server of the test's own, to kill, pause and restart. What was acknowledged survives a crash."""
    async with RedisServer(appendonly="yes", appendfsync="always") as server:
        yield server
