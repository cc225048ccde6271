from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hub.clock import Clock


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Clock]:
    """The running loop's clock: it stands still until it is told otherwise."""
    clock = Clock()
    with monkeypatch.context() as patch:
        patch.setattr(asyncio.get_running_loop(), "time", clock.time)
        yield clock
