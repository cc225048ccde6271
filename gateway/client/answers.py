"""What a gateway says besides yes: problem documents (RFC 9457) and Retry-After, whichever library read them.

Rule: a body that is no problem document is not the gateway's, and is repeated nowhere.
"""

from __future__ import annotations

import json
from typing import NamedTuple

MAX_BYTES = 16_384
"""Of an answer's body as much is looked at."""
MAX_TEXT = 300


class Problem(NamedTuple):
    """Empty strings for what is not said. `field` is the path of the offending field."""

    title: str = ""
    detail: str = ""
    field: str = ""

    @property
    def why(self) -> str:
        """The most that it says, in one line."""
        return ": ".join(filter(None, (self.field, self.detail))) or self.title


def problem(content_type: str | None, body: bytes) -> Problem:
    """What the body of a refusal says; nothing if it is no problem document."""
    if (content_type or "").partition(";")[0].strip().lower() != "application/problem+json":
        return Problem()
    try:
        found = json.loads(body)
        return Problem(*(_line(found.get(name)) for name in Problem._fields))
    except (ValueError, AttributeError, RecursionError):
        return Problem()


def retry_after(header: str | None) -> float | None:
    """The seconds that it asks for; a date is not read."""
    return float(header) if header and header.isascii() and header.isdigit() else None


def _line(value: object) -> str:
    return " ".join(str(value or "").split())[:MAX_TEXT]
