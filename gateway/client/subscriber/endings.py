"""Why there is no stream, where that is nobody's mistake and may pass."""

from __future__ import annotations


class Unavailable(Exception):
    """There is none now, and may be later. `retry_after` is how long, in seconds, the other side asked to be left."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
