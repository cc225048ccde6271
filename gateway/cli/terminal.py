"""Text for people: colours where there is a terminal that wants them, and nothing that would act upon it."""

from __future__ import annotations

import re
from typing import TextIO

from ..setting_sources import colours_wanted

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class Pen:
    """Writes in colour if `out` is a terminal, and neither NO_COLOR nor TERM=dumb is set."""

    def __init__(self, out: TextIO) -> None:
        self._on = out.isatty() and colours_wanted()

    def bold(self, text: str) -> str:
        return self._in("1", text)

    def dim(self, text: str) -> str:
        return self._in("2", text)

    def red(self, text: str) -> str:
        return self._in("31", text)

    def green(self, text: str) -> str:
        return self._in("32", text)

    def yellow(self, text: str) -> str:
        return self._in("33", text)

    def _in(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._on else text


def printable(text: str) -> str:
    """What came from elsewhere, without characters that a terminal would act upon: these are written as `\\x1b`."""
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
