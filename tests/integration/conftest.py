from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from integration.helping import Pair, over, quiet_environment, two_gateways


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy and no GATEWAY_ setting of whoever runs the tests reaches them."""
    quiet_environment(monkeypatch)


@pytest_asyncio.fixture
async def pair(redis_url: str, prefix: str) -> AsyncIterator[Pair]:
    """Two gateways over one Redis, in development mode."""
    async with two_gateways(over(redis_url, prefix)) as pair:
        yield pair
