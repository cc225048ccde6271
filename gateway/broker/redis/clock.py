"""The server's clock, as far as this process can tell: ids are made of it, and the two may differ by any amount.

Rule: a probe is stamped by the server on its way. The stamp belongs to the middle between sending and hearing, give or
take half of that time; so of the last few probes the fastest is believed. What counts here is this process's monotonic
clock, so that nobody's setting of a clock makes an event look late.
"""

from __future__ import annotations

from collections import deque

PROBES = 10


class ServerClock:
    def __init__(self) -> None:
        self._probes: deque[tuple[float, float]] = deque(maxlen=PROBES)  # how long it took, how far the server is ahead
        self._ahead: float | None = None
        self._anew = False

    def stamped(self, sent_at: float, heard_at: float, server: float) -> None:
        """A probe came back; `server` is what its clock said, in seconds since 1970."""
        if self._anew:
            self._probes.clear()
            self._anew = False
        self._probes.append((heard_at - sent_at, server - (sent_at + heard_at) / 2))
        self._ahead = min(self._probes)[1]

    def begin_anew(self) -> None:
        """The next stamp may be of another server. Until it comes the old one's time is the best there is: events that
        were published during an outage are read before the first probe, and are those whose lateness matters."""
        self._anew = True

    def at(self, moment: float) -> float | None:
        """Seconds since 1970 there, at a moment of the clock here; None while nothing is known."""
        return None if self._ahead is None else moment + self._ahead
