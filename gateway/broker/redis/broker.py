"""`redis://`: the port's adapter, put together from publisher, link and history reads."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import structlog
from redis.exceptions import NoPermissionError, RedisError

from ...channels import Keys, kind
from ...errors import BrokerUnavailable
from ...events import Entry
from ...ids import EventId
from ..base import BrokerStats, Listener, Page, Publication, Receipt, Touched
from ..history import MEMORY_OF_LAST, Horizon, Slice, page
from . import connect
from .bounds import Bounds
from .envelope import stored
from .examine import RULES, examined
from .link import Link
from .partitions import Agreement
from .publisher import Policy, RedisPublisher, script

log = structlog.get_logger(__name__)


class RedisBroker:
    """See `gateway.broker.base.Broker` for the contract. `timeout` (s) bounds every single command."""

    def __init__(
        self,
        route: connect.Route,
        *,
        prefix: str = "sse",
        policy: Policy | None = None,
        timeout: float = 1.5,
        agreement: Agreement | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        policy, sharded, bounds = policy or Policy(), agreement is not None, bounds or Bounds()
        self._agreement = agreement
        self.retention = policy.retention
        self.stats = BrokerStats()
        self._keys = Keys(prefix)
        self._ttl_ms = int(policy.ttl * 1000)
        self._timeout = timeout
        self._client = connect.client(route, timeout=timeout)
        self._publisher = RedisPublisher(
            self._client, self._keys, policy, timeout=timeout, sharded=sharded, bounds=bounds, stats=self.stats
        )
        self._read = self._client.register_script(script("tip", "read"))
        self._probe_script = self._client.register_script(script("tip", "probe", sharded=sharded))
        self._reading = asyncio.Semaphore(bounds.reads)
        self._page_bytes = bounds.page_bytes
        self._warnings: list[str] = []
        self.link = Link(route, self._keys, uuid4().hex[:12], self, self.stats, sharded=sharded)

    async def start(self, listener: Listener) -> None:
        self.link.start(listener)

    async def close(self) -> None:
        await self.link.close()
        await self._publisher.close()
        await self._client.aclose()

    async def publish(self, items: Sequence[Publication]) -> list[Receipt]:
        return await self._publisher.publish(items)

    async def subscribe(self, channel: str) -> None:
        await self.link.subscribe(channel)

    def unsubscribe(self, channel: str) -> None:
        self.link.unsubscribe(channel)

    def health(self) -> str | None:
        return self.link.health()

    def failed(self) -> str | None:
        return self.link.failed()

    def now_ms(self) -> float | None:
        return self.link.server_ms()

    def warnings(self) -> list[str]:
        return self._warnings

    async def tip(self) -> EventId:
        return (await self._answer_of_read([], EventId(0, 0), 1))[0].tip

    async def read(self, channels: Sequence[str], after: EventId, limit: int) -> Page:
        horizon, answer = await self._answer_of_read(channels, after, limit)
        parts = zip(channels, answer[0::4], answer[1::4], answer[2::4], answer[3::4], strict=True)
        slices = [self._slice(*part) for part in parts]
        return page(slices, after, horizon)

    async def touched(self, after: EventId, limit: int) -> Touched:
        async with self._reading:
            try:
                async with asyncio.timeout(self._timeout):
                    rows: list[Any] = await self._client.xrange(  # type: ignore[assignment]
                        self._keys.journal, str(after), "+", count=limit + 2
                    )
            except (RedisError, OSError, TimeoutError) as error:
                raise _unavailable(error) from error
        # Others may have written there too: what names no channel has an id all the same.
        touched = [(_id(id), fields.get(b"c", b"").decode("utf-8", "replace")) for id, fields in rows]
        intact = bool(touched) and touched[0][0] == after
        newer = [row for row in touched if row[0] > after]
        return Touched(newer[:limit], intact, complete=len(newer) <= limit)

    # What the link asks of the command client

    async def examine(self) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                warnings = examined(await self._client.info(), cluster=self._agreement is not None)
                if self._agreement is not None:
                    await self._agreement.reach()
        except NoPermissionError as error:
            warnings = [f"Redis does not say how it is set up: {error} ({RULES})"]
        except RedisError as error:
            raise OSError(str(error)) from error
        for warning in warnings:
            if warning not in self._warnings:
                log.warning("broker.warning", detail=warning)
        self._warnings = warnings

    async def probe(self, channel: str, number: int) -> None:
        async with asyncio.timeout(self._timeout):
            await self._probe_script(keys=[self._keys.journal, self._keys.epoch], args=[channel, number])

    async def subscriptions(self, client_id: int) -> int:
        async with asyncio.timeout(self._timeout):
            rows: list[dict[str, str]] = await self._client.client_list(client_id=[str(client_id)])
        return int(rows[0]["sub" if self._agreement is None else "ssub"])

    async def distrust(self) -> None:
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(self._timeout):
                await self._client.connection_pool.disconnect(inuse_connections=False)

    async def _answer_of_read(self, channels: Sequence[str], after: EventId, limit: int) -> tuple[Horizon, list[Any]]:
        memory_ms = self._ttl_ms * MEMORY_OF_LAST
        keys = [self._keys.journal, self._keys.epoch]
        for channel in channels:
            keys += (self._keys.history(channel), self._keys.last(channel))
        async with self._reading:
            try:
                async with asyncio.timeout(self._timeout):
                    answer = await self._read(
                        keys=keys, args=[str(after), limit, self._ttl_ms, self._page_bytes, memory_ms]
                    )
            except (RedisError, OSError, TimeoutError) as error:
                raise _unavailable(error) from error
        tip, epoch, now, beyond = answer[:4]
        return Horizon(_id(epoch), _id(tip), int(now), memory_ms, _id(beyond) if beyond else None), answer[4:]

    def _slice(self, channel: str, rows: list[Any], more: int, last: bytes, oldest: bytes) -> Slice:
        entries = [entry for id, fields in rows if (entry := self._entry(channel, id, fields)) is not None]
        truncated = bool(more and entries)
        return Slice(channel, entries, truncated, _id(last) if last else None, _id(oldest) if oldest else None)

    def _entry(self, channel: str, id: bytes, fields: list[bytes]) -> Entry | None:
        """None for what somebody else wrote into the history: the entry is at fault, not the reader."""
        try:
            return stored(channel, id, fields)
        except Exception as error:
            self.stats.garbage += 1
            if self.stats.garbage.bit_count() == 1:  # it is read again and again; not the error's text: it may quote
                reason = type(error).__name__
                log.warning("broker.foreign_entry_skipped", channel=kind(channel), id=id.decode(), reason=reason)
            return None


def _id(raw: bytes) -> EventId:
    return EventId.parse(raw.decode())


def _unavailable(error: Exception) -> BrokerUnavailable:
    return BrokerUnavailable(f"Redis did not give the history: {str(error) or type(error).__name__}")
