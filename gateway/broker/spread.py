"""Publishing over several partitions, each of which has an order, and a history, of its own.

A list goes to each partition that it concerns as one list, all at once; an event for everybody goes to all of them.
Each takes its part whole or not at all, in order. When one did not take its part, the whole is not known to be taken:
with idempotency keys, sending it again completes it, since each partition knows what it has.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence

from ..channels import BROADCAST, partition
from ..errors import BrokerUnavailable
from .base import Publication, Receipt

Publish = Callable[[Sequence[Publication]], Awaitable[list[Receipt]]]


class Spread:
    """`publish` is that of the broker port, over the partitions' own. `ready` is awaited before."""

    def __init__(self, each: Sequence[Publish], ready: Callable[[], Awaitable[None]]) -> None:
        self._each = each
        self._ready = ready

    async def publish(self, items: Sequence[Publication]) -> list[Receipt]:
        """A broadcast's receipt has the id it got in the first partition, and the most receivers of any."""
        await self._ready()
        parts: defaultdict[int, list[int]] = defaultdict(list)  # of each partition: which of the items
        for index, item in enumerate(items):
            for number in self._partitions_of(item.channel):
                parts[number].append(index)
        if len(parts) == 1:
            ((number, _),) = parts.items()
            return await self._each[number](items)
        answers = await asyncio.gather(
            *(self._each[number]([items[index] for index in some]) for number, some in parts.items()),
            return_exceptions=True,
        )
        failed = [answer for answer in answers if isinstance(answer, BaseException)]
        if failed:
            raise _in_part(failed, len(parts))
        receipts: dict[int, Receipt] = {}
        for (_, some), answer in sorted(zip(parts.items(), answers, strict=True), key=lambda part: part[0][0]):
            assert not isinstance(answer, BaseException)
            for index, receipt in zip(some, answer, strict=True):
                first = receipts.setdefault(index, receipt)
                receipts[index] = first._replace(receivers=max(first.receivers, receipt.receivers))
        return [receipts[index] for index in range(len(items))]

    def _partitions_of(self, channel: str) -> Sequence[int]:
        return range(len(self._each)) if channel == BROADCAST else (partition(channel, len(self._each)),)


def _in_part(failed: Sequence[BaseException], parts: int) -> BaseException:
    error = failed[0]
    if not isinstance(error, BrokerUnavailable):
        return error
    return BrokerUnavailable(f"{len(failed)} of {parts} partitions did not take their part: {error.detail}")
