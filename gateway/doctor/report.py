"""What a look at one thing came to."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from ..errors import GatewayError


class CannotExamine(GatewayError):
    """There is nothing there to look at; `detail` says why and what to do, in one line."""


class Outcome(enum.StrEnum):
    OK = "ok"
    HINT = "hint"
    """It works, and could be better."""
    FINDING = "finding"
    """It is to be mended."""
    SKIPPED = "skipped"
    """It was not looked at; why is said."""


@dataclass(frozen=True, slots=True)
class Check:
    """`says` is one line; `mend` are lines that each name a place and what is to stand there."""

    name: str
    outcome: Outcome
    says: str
    mend: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        return {"check": self.name, "outcome": str(self.outcome), "says": self.says, "mend": list(self.mend)}


def ok(name: str, says: str) -> Check:
    return Check(name, Outcome.OK, says)


def hint(name: str, says: str, *mend: str) -> Check:
    return Check(name, Outcome.HINT, says, mend)


def finding(name: str, says: str, *mend: str) -> Check:
    return Check(name, Outcome.FINDING, says, mend)


def skipped(name: str, says: str) -> Check:
    return Check(name, Outcome.SKIPPED, says)
