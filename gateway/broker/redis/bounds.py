"""What one process asks of Redis at once, at most."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bounds:
    """Publishing: the events that may wait for a call, and the bytes of their data. Reading: pages of history at once,
    and the bytes of one channel's part of a page (as much as a connection's socket is given at once by default)."""

    waiting_events: int = 20_000
    waiting_bytes: int = 64 * 2**20
    reads: int = 8
    page_bytes: int = 262_144
