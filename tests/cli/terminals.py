"""Standard streams for tests: a terminal, and what it shows."""

from __future__ import annotations

import io


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True
