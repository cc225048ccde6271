"""A listener that keeps what it is told, and small words for making publications."""

from __future__ import annotations

from collections.abc import Iterable

from servers import until

from gateway.broker.base import Broker, Publication, Receipt
from gateway.events import Entry, SSEEvent
from gateway.ids import EventId


class Heard:
    """Everything a broker told, in order: entries, and separately what else it said."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.marks: list[EventId] = []
        self.said: list[str] = []
        self.order: list[EventId] = []

    def announce(self, entry: Entry) -> None:
        self.entries.append(entry)
        if entry.id is not None:
            self.order.append(entry.id)

    def watermark(self, tip: EventId) -> None:
        self.marks.append(tip)
        self.order.append(tip)

    def link_lost(self) -> None:
        self.said.append("lost")

    def link_restored(self) -> None:
        self.said.append("restored")

    @property
    def losses(self) -> int:
        return self.said.count("lost")

    @property
    def restored(self) -> int:
        return self.said.count("restored")

    def data(self, channel: str | None = None) -> list[bytes]:
        return [entry.data for entry in self.entries if channel is None or entry.channel == channel]

    async def hears(self, *data: object, within: float = 10.0) -> None:
        """Wait until exactly these have been announced, in this order."""
        wanted = [str(one).encode() for one in data]
        await until(lambda: len(self.entries) >= len(wanted), within=within, what=f"{wanted} is heard")
        assert self.data() == wanted


def publication(channel: str, data: object = None, *, key: str | None = None, id: str | None = None) -> Publication:
    return Publication(channel, SSEEvent("test.event", data=data, id=id), key)


async def publish(broker: Broker, channel: str, *data: object) -> list[EventId]:
    """One atomic list of events on one channel; returns their ids."""
    return ids(await broker.publish([publication(channel, one) for one in data]))


def ids(receipts: Iterable[Receipt]) -> list[EventId]:
    found = [receipt.id for receipt in receipts if receipt.id is not None]
    return found


async def all_that_is_kept(broker: Broker, channels: list[str], after: EventId, limit: int) -> tuple[list[Entry], bool]:
    """Page by page to the tip, as a connection catches up; and whether anything was told lost on the way."""
    entries: list[Entry] = []
    lost = False
    while True:
        page = await broker.read(channels, after, limit)
        entries += page.entries
        lost = lost or bool(page.lost)
        assert page.upto > after or page.upto == page.tip or page.lost
        after = page.upto
        if page.upto == page.tip:
            return entries, lost
