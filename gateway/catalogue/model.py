"""What a catalogue says, and what it makes of an event and of a filter."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

from ..config import ConfigError
from ..errors import InvalidEvent
from ..events import SSEEvent

Schema: TypeAlias = "dict[str, Any] | bool"
"""A JSON Schema, draft 2020-12; references in it are `#/$defs/<name>`, to the catalogue's own."""

Fault: TypeAlias = "tuple[Sequence[str | int], str]"
"""Where in some data, and what is wrong there; the text does not quote the data."""

MAX_DETAIL = 300
MAX_PATH = 300

_PLAIN = re.compile(r"[A-Za-z0-9_$-]+", re.ASCII)


class CatalogueError(ConfigError):
    """The catalogue cannot be used. Each problem begins with the file and the line."""


class BadSchema(ValueError):
    """What shall be a JSON Schema is none. `path` is where in it."""

    def __init__(self, problem: str, path: Sequence[str | int]) -> None:
        super().__init__(problem)
        self.path = tuple(path)


@dataclass(frozen=True, slots=True)
class EventType:
    """`schema` is None where any data will do; `fault` is then None too, else the first thing wrong with some data."""

    name: str
    description: str = ""
    category: str | None = None
    schema: Schema | None = None
    fault: Callable[[Any], Fault | None] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Catalogue:
    """`types` and `categories` (with their descriptions) are in the file's order, `definitions` what schemas share."""

    title: str
    types: Mapping[str, EventType]
    categories: Mapping[str, str]
    definitions: Mapping[str, Schema]
    unknown_types_pass: bool = False

    def check(self, event: SSEEvent, *, type_field: str = "event_type") -> None:
        """Raise `InvalidEvent`, with the path of what is wrong, unless it is as the catalogue has it."""
        known = self.types.get(event.event_type)
        if known is None:
            if self.unknown_types_pass:
                return
            nearest = difflib.get_close_matches(event.event_type, self.types, n=1)
            hint = f"; did you mean {nearest[0]}?" if nearest else ""
            raise InvalidEvent(f"is not in the event catalogue{hint}", field=type_field)
        if known.fault is not None and (fault := known.fault(event.data)) is not None:
            path, text = fault
            raise InvalidEvent(f"{text[:MAX_DETAIL]} (event catalogue)", field=_path("data", path))

    def expanded(self, patterns: Iterable[str]) -> list[str]:
        """The patterns of `types=`, with the event types of each category in its place."""
        return [name for pattern in patterns for name in self.members.get(pattern, (pattern,))]

    @cached_property
    def members(self) -> dict[str, tuple[str, ...]]:
        """The event types of each category."""
        return {
            category: tuple(known.name for known in self.types.values() if known.category == category)
            for category in self.categories
        }


def _path(root: str, path: Sequence[str | int]) -> str:
    """As in `data.items[3].id`; a name of other characters is quoted."""
    steps = [root]
    for step in path:
        plain = isinstance(step, str) and _PLAIN.fullmatch(step)
        steps.append(f".{step}" if plain else f"[{json.dumps(step)}]")
    found = "".join(steps)
    return found if len(found) <= MAX_PATH else f"{found[:MAX_PATH]}…"
