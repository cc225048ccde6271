"""How late the event loop is: what every client and every probe waits for before anything else."""

from __future__ import annotations

import asyncio

from prometheus_client import Histogram

MEASURE_EVERY = 0.05


async def measure(lag: Histogram) -> None:
    """Run for ever: observe by how many seconds a timer fires too late."""
    clock = asyncio.get_running_loop().time
    while True:
        due = clock() + MEASURE_EVERY
        await asyncio.sleep(MEASURE_EVERY)
        lag.observe(max(clock() - due, 0))
