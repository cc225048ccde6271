from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from web.inprocess import SECRET, Served, served

from gateway.config import PublishKey


@pytest_asyncio.fixture
async def gateway() -> AsyncIterator[Served]:
    """In development mode, with everything else as it comes."""
    async with served() as running:
        yield running


@pytest_asyncio.fixture
async def secured() -> AsyncIterator[Served]:
    """As in production: subscribers show tokens, publishers keys of several scopes."""
    keys = (
        PublishKey("all", "key-for-all"),
        PublishKey("users", "key-for-users", ("user:*",)),
        PublishKey("alice", "key-for-alice", ("user:alice", "broadcast")),
        PublishKey("orders", "key-for-orders", ("topic:orders.*",)),
    )
    async with served(jwt_secret=SECRET, publish_keys=keys) as running:
        yield running
