"""Publishing through the HTTP API, at a rate, until every event was acknowledged.

Each channel has its own sequence. What was not acknowledged is sent again with the same Idempotency-Key, as a careful
publisher does: so at the end every event was published exactly once, whatever failed on the way.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence

import aiohttp

BATCHES_PER_SECOND = 20
BURST_BATCH = 200


class _Lane:
    """A publisher; `turn` keeps the order of a channel's events the order in which they are sent."""

    def __init__(self, channels: Sequence[str]) -> None:
        self.channels = channels
        self.turn = asyncio.Lock()


class Load:
    """`async with Load(url, key, channels, rate=2000) as load:` publishes until the body ends.

    channels  `user:<id>`, `topic:<name>` or `broadcast`; each event goes to one, chosen at random
    rate      events a second while the broker takes them
    lanes     publishers at once, each with channels of its own; one waits for its answer before it goes on
    """

    def __init__(
        self, url: Callable[[], str], key: str, channels: Sequence[str], *, rate: float, size: int = 0, lanes: int = 1
    ) -> None:
        self.published: Counter[str] = Counter()
        self.acknowledged_at = 0.0
        self.unavailable = 0
        self._url = url
        self._headers = {"Authorization": f"Bearer {key}"}
        self._lanes = [_Lane(channels[number::lanes]) for number in range(lanes)]
        self._batch = max(round(rate / lanes / BATCHES_PER_SECOND), 1)
        self._pause = self._batch / (rate / lanes)
        self._padding = "x" * size
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    async def __aenter__(self) -> Load:
        self._tasks = [asyncio.create_task(self._run(lane)) for lane in self._lanes]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def _run(self, lane: _Lane) -> None:
        loop = asyncio.get_running_loop()
        timeout = aiohttp.ClientTimeout(total=5)
        async with aiohttp.ClientSession(headers=self._headers, timeout=timeout) as session:
            due = loop.time()
            while not self._stopping:
                async with lane.turn:
                    for path, events in self._next_batches(lane.channels, self._batch).items():
                        await self._publish(session, path, events)
                due = max(due + self._pause, loop.time() - 1)
                await asyncio.sleep(max(due - loop.time(), 0))

    async def burst(self, events: int) -> None:
        """So many more, as fast as they are taken, on a connection of their own; the first lane waits meanwhile."""
        lane = self._lanes[0]
        async with lane.turn, aiohttp.ClientSession(headers=self._headers) as session:
            for _ in range(events // BURST_BATCH):
                for path, batch in self._next_batches(lane.channels, BURST_BATCH).items():
                    await self._publish(session, path, batch)

    def _next_batches(self, channels: Sequence[str], size: int) -> dict[str, list[dict[str, object]]]:
        batches: dict[str, list[dict[str, object]]] = {}
        for channel in itertools.islice(iter(lambda: random.choice(channels), None), size):
            self.published[channel] += 1
            data = {"c": channel, "s": self.published[channel], "t": time.time(), "p": self._padding}
            kind, _, name = channel.partition(":")
            event: dict[str, object] = {"event_type": "tick", "data": data}
            if kind == "user":
                event["user_id"] = name
            path = {"user": "/v1/events", "topic": f"/v1/topics/{name}/events"}.get(kind, "/v1/broadcast")
            batches.setdefault(path, []).append(event)
        return batches

    async def _publish(self, session: aiohttp.ClientSession, path: str, events: list[dict[str, object]]) -> None:
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        while True:
            try:
                async with session.post(self._url() + path, json=events, headers=headers) as response:
                    if response.status == 202:
                        self.acknowledged_at = time.monotonic()
                        return
                    assert response.status == 503, await response.text()
            except (aiohttp.ClientError, OSError, TimeoutError):
                pass
            self.unavailable += 1
            await asyncio.sleep(0.1)
