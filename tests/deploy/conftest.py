from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from nginx import NginxServer
from web.inprocess import Served, served


@pytest_asyncio.fixture
async def gateway() -> AsyncIterator[Served]:
    """In development mode, with everything else as it comes."""
    async with served() as running:
        yield running


@pytest_asyncio.fixture
async def nginx(gateway: Served) -> AsyncIterator[NginxServer]:
    """Before that one gateway; of the two that are configured the other is down."""
    async with NginxServer(gateway.port) as running:
        yield running
