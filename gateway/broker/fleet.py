"""The fleet port: a blackboard on which processes say how they are, for people to look at.

Rule: nothing that events depend on goes through here. A process writes over its own last report; what it no longer
writes over is forgotten. Somebody who looks says at whom or what, and processes say more of that in their next report.
"""

from __future__ import annotations

from typing import Protocol

FORGET_AFTER = 12.0
"""Seconds after which a report that was not renewed counts for nothing."""

ANYBODY = ""
"""What is watched when somebody looks at the fleet as a whole."""


class Fleet(Protocol):
    """The port. Every adapter passes `tests/broker/contract_fleet.py`. All methods raise `BrokerUnavailable`."""

    async def close(self) -> None: ...

    async def tell(self, name: str, report: bytes) -> list[str]:
        """Renew this process's report; what is watched now, by the words given to `watch`."""
        ...

    async def reports(self) -> list[bytes]:
        """The last report of every process, in no order."""
        ...

    async def watch(self, what: str, seconds: float) -> None:
        """Have processes hear of `what` for so long: a minute at most, and it may be said again."""
        ...

    async def forget(self, name: str) -> None:
        """This process ends; nobody need wait to find that out."""
        ...
