"""The targets by name: what parses, and what must hold whatever bytes it is given.

Each raises nothing, or what it found.

Rule: an error that a parser may raise is named where it is called; any other is a finding, and so is an answer that
breaks a promise (an id that is written otherwise than it was read, a frame with two events in it).
"""

from __future__ import annotations

from collections.abc import Callable

Target = Callable[[bytes], None]
TARGETS: dict[str, Target] = {}


def target(function: Target) -> Target:
    TARGETS[function.__name__] = function
    return function


def text(data: bytes) -> str:
    """As a header reaches us: any bytes, those that are no UTF-8 as surrogates."""
    return data.decode("utf-8", "surrogateescape")
