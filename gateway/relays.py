"""The orders of events in a process: a hub and a relay for each partition of the broker, and which is whose.

There is one, but on a Redis Cluster. Within a partition all is as if there were no others: ids, tails, watermark, link
and healing. A stream belongs to the partition of its user, where everybody's broadcasts are too; with topics that lie
elsewhere it stands on several legs (`hub/leg.py`), each of which is brought forward by itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterator, Sequence
from typing import NamedTuple

from .broker.base import Publication, Receipt
from .broker.spread import Publish
from .channels import kind, partition
from .encodings import EVENT_STREAM, Encoding
from .guide import Guide
from .hub import CloseReason, Connection, Leg, Legs
from .ids import MOST_OTHERS, START, EventId, Positions
from .relay import Relay

PARTITIONED = ("user", "topic")


class TooManyPartitions(ValueError):
    """A stream's topics lie in more partitions than one id can tell of."""


class Kinds(NamedTuple):
    """What a stream is made of: one that needs no legs, or some."""

    whole: type[Connection] = Connection
    leg: type[Leg] = Leg


STREAM = Kinds()


class Relays:
    """`spread` publishes over several partitions."""

    def __init__(self, each: Sequence[Relay], spread: Publish | None = None) -> None:
        self.each = each
        self._spread = spread

    def __iter__(self) -> Iterator[Relay]:
        return iter(self.each)

    async def start(self) -> None:
        for relay in self.each:
            await relay.start()

    async def close(self) -> None:
        for relay in self.each:
            await relay.close()

    def publish(self, items: Sequence[Publication]) -> Awaitable[list[Receipt]]:
        """As the broker port has it; over several partitions as `broker/spread.py` says."""
        return (self._spread or self.each[0].broker.publish)(items)

    def health(self) -> str | None:
        """Why this process may be missing events now, or None."""
        for number, relay in enumerate(self.each):
            if (reason := relay.health()) is not None:
                return reason if len(self.each) == 1 else f"partition {number}: {reason}"
        return None

    def failed(self) -> str | None:
        """Why this process will never hear a part of the broker again, or None."""
        return next((reason for relay in self.each if (reason := relay.broker.failed()) is not None), None)

    @property
    def count(self) -> int:
        """Streams that are open."""
        return sum(relay.hub.streams for relay in self.each)

    def streams(self) -> list[Connection]:
        """Each by the connection that it is known by."""
        return [each for relay in self.each for each in relay.hub.connections if not each.part_of_another]

    def warnings(self) -> list[str]:
        return list(dict.fromkeys(warning for relay in self.each for warning in relay.broker.warnings()))

    def end(self, channel: str | None, reason: CloseReason) -> None:
        """The streams of a user's channel; of everybody without one."""
        hubs = [relay.hub for relay in self.each] if channel is None else [self.of(channel).hub]
        for hub in hubs:
            hub.close(channel, reason)

    def of(self, channel: str) -> Relay:
        """That of a user's channel, or a topic's; of one that is in every partition, some."""
        return self.each[partition(channel, len(self.each))]

    def connections(
        self,
        listen: Sequence[str],
        cursor: EventId | Positions | None = None,
        *,
        types: Sequence[str] = (),
        unknown: str | None = None,
        encoding: Encoding = EVENT_STREAM,
        kinds: Kinds = STREAM,
    ) -> list[tuple[Relay, Connection]]:
        """What a stream of these channels consists of; the first is what it is known by.

        It is in the partition of the first channel that has one, with those that are in each of them. A position that
        `cursor` does not tell begins at the tip; with an `unknown` one, all begin at the beginning. Raises
        `TooManyPartitions`.
        """
        home, by_number = self._divided(listen)
        own = by_number.pop(home)
        if len(by_number) > MOST_OTHERS:
            raise TooManyPartitions(f"lie in {len(by_number)} partitions besides the user's; at most {MOST_OTHERS}")
        at, others = (cursor.own, cursor.others) if isinstance(cursor, Positions) else (cursor, {})
        if not by_number:
            return [(self.each[home], kinds.whole(own, at, types=types, unknown=unknown, encoding=encoding))]
        legs = Legs()
        first = kinds.leg(legs, home, own, at, types=types, unknown=unknown, encoding=encoding)
        made: list[tuple[Relay, Connection]] = [(self.each[home], first)]
        for number, names in sorted(by_number.items()):
            other = START if at == START else others.get(number)
            made.append((self.each[number], kinds.leg(legs, number, names, other, types=types, encoding=encoding)))
        return made

    def _divided(self, listen: Sequence[str]) -> tuple[int, dict[int, list[str]]]:
        """The number of the stream's own partition, and the channels by the partition they are heard in."""
        count = len(self.each)
        numbers = [partition(name, count) if kind(name) in PARTITIONED else None for name in listen]
        home = next((number for number in numbers if number is not None), 0)
        divided: dict[int, list[str]] = {home: []}
        for name, number in zip(listen, numbers, strict=True):
            divided.setdefault(home if number is None else number, []).append(name)
        return home, divided


class LegGuide(Guide):
    """Brings a leg forward that is part of another stream, and ends that with it."""

    __slots__ = ("_whole",)

    def __init__(self, relay: Relay, connection: Connection, whole: Guide) -> None:
        super().__init__(relay, connection)
        self._whole = whole

    def ended(self, reason: CloseReason) -> None:
        self._whole.connection.close(reason)

    async def drained(self) -> None:
        await self._whole.drained()
