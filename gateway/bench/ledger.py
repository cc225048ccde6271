"""Which event was sent when, and who got it: what was lost, doubled, out of order, or given to the wrong user.

Events go to the *lanes* in turn: event n is number n // L of lane n % L. Each user that is published to is a lane;
topic and broadcast are a single one. Everyone in a lane must get all of its events that were accepted. What was
not accepted may arrive all the same, for a publish without an answer may have been stored.

Out of order is what came although a later one was there before: later by its id, or because it was sent only
after this one was answered.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Sequence

from ..ids import START
from .latencies import Latencies
from .wire import Item


class Inbox:
    """What one stream got. `open` until it ends before the run does."""

    __slots__ = ("lane", "last_id", "latest_sent", "open", "received", "seen")

    def __init__(self, lane: int, size: int) -> None:
        self.lane = lane
        self.seen = bytearray(size)
        self.received = 0
        self.latest_sent = 0.0
        self.last_id = START
        self.open = True


class Ledger:
    """Times are of one clock, in seconds."""

    def __init__(self, events: int, lanes: int) -> None:
        self.lanes = lanes
        self.latencies = Latencies()
        self.delivered = 0
        self.duplicates = 0
        self.out_of_order = 0
        self.misdelivered = 0
        self.others: Counter[str] = Counter()
        """Events that are not the run's, by type: strangers', and the gateway's own."""
        self.last_delivery = 0.0
        self.accepted = 0
        self._size = -(-events // lanes) // 8 + 1
        self._sent = array("d", [0.0]) * events
        self._answered = array("d", [math.inf]) * events
        self._accepted = [bytearray(self._size) for _ in range(lanes)]
        self._inboxes: list[Inbox] = []

    def inbox(self, lane: int) -> Inbox:
        inbox = Inbox(lane, self._size)
        self._inboxes.append(inbox)
        return inbox

    def sent(self, number: int, now: float) -> None:
        self._sent[number] = now

    def accept(self, number: int, now: float) -> None:
        """The gateway answered that it has the event."""
        self.accepted += 1
        self._answered[number] = now
        index, lane = divmod(number, self.lanes)
        self._accepted[lane][index >> 3] |= 1 << (index & 7)

    def take(self, inbox: Inbox, items: Sequence[Item], now: float) -> None:
        """What arrived on a stream at one moment."""
        for item in items:
            if isinstance(item, str):
                self.others[item] += 1
                continue
            number, id = item
            if not 0 <= number < len(self._sent):
                continue
            index, lane = divmod(number, self.lanes)
            if lane != inbox.lane:
                self.misdelivered += 1
                continue
            byte, bit = index >> 3, 1 << (index & 7)
            if inbox.seen[byte] & bit:
                self.duplicates += 1
                continue
            inbox.seen[byte] |= bit
            inbox.received += 1
            self.delivered += 1
            self.last_delivery = now
            sent = self._sent[number]
            self.latencies.add(now - sent)
            if self._answered[number] < inbox.latest_sent or (id is not None and id <= inbox.last_id):
                self.out_of_order += 1
            inbox.latest_sent = max(inbox.latest_sent, sent)
            inbox.last_id = id or inbox.last_id

    def missing(self) -> int:
        """Deliveries due that did not come. Of a stream that ended early nothing is due: it could have resumed."""
        accepted = [_bits(lane) for lane in self._accepted]
        return sum((accepted[inbox.lane] & ~_bits(inbox.seen)).bit_count() for inbox in self._inboxes if inbox.open)


def _bits(marks: bytearray) -> int:
    return int.from_bytes(marks, "little")
