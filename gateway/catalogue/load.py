"""A catalogue's file -> `Catalogue`. Everything that is wrong is collected, and told at once, each with its line."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path as File
from typing import TYPE_CHECKING, Any

from ..events import EVENT_TYPE, RESERVED_PREFIX
from .model import BadSchema, Catalogue, CatalogueError, EventType, Fault, Schema

if TYPE_CHECKING:
    from .source import Path

VERSION = 1
UNKNOWN_TYPES = ("refuse", "pass")
MISSING = "needs PyYAML and jsonschema-rs, which are not installed: pip install 'event-gateway[catalogue]'"

_CATEGORY = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}", re.ASCII)
_KEYS = ("catalogue", "title", "unknown_types", "categories", "events", "$defs")
_KEYS_OF_EVENT = ("category", "description", "data")
_DEFINITION = "#/$defs/"


def load(path: str) -> Catalogue:
    """Raises `CatalogueError`."""
    try:
        from .source import MAX_BYTES, Unreadable, parse
        from .validation import fault_finder
    except ImportError:
        raise CatalogueError([f"{path}: the event catalogue {MISSING}"]) from None
    try:
        content = File(path).read_bytes()
        if len(content) > MAX_BYTES:
            raise CatalogueError([f"{path}: is {len(content)} bytes; at most {MAX_BYTES} are read"])
        value, lines = parse(content.decode())
    except OSError as error:
        raise CatalogueError([f"{path}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise CatalogueError([f"{path}: is not UTF-8 text"]) from None
    except Unreadable as error:
        raise CatalogueError([f"{path}:{error.line}: {error.problem}"]) from None
    reading = _Reading(path, lines, fault_finder)
    catalogue = reading.catalogue(value)
    if reading.problems:
        raise CatalogueError([problem for _, problem in sorted(reading.problems)])
    return catalogue


class _Reading:
    def __init__(
        self,
        file: str,
        lines: Mapping[Path, int],
        fault_finder: Callable[[Schema, Mapping[str, Schema]], Callable[[Any], Fault | None]],
    ) -> None:
        self.problems: set[tuple[int, str]] = set()
        self._file = file
        self._lines = lines
        self._fault_finder = fault_finder

    def wrong(self, path: Path, problem: str) -> None:
        line = next((self._lines[path[:n]] for n in range(len(path), -1, -1) if path[:n] in self._lines), 1)
        deeper = "".join(f".{step}" for step in path[3:])
        where = ": ".join(str(step) for step in path[:3]) + deeper
        self.problems.add((line, f"{self._file}:{line}: {where}{': ' if where else ''}{problem}"))

    def catalogue(self, value: Any) -> Catalogue:
        if not isinstance(value, dict):
            self.wrong((), "a catalogue is a mapping that begins with `catalogue: 1`")
            value = {"catalogue": VERSION, "events": {}}
        self._known(value, (), _KEYS)
        if value.get("catalogue") != VERSION or isinstance(value.get("catalogue"), bool):
            self.wrong(("catalogue",), f"must be {VERSION}, the version of this form")
        unknown = value.get("unknown_types", "refuse")
        if unknown not in UNKNOWN_TYPES:
            self.wrong(("unknown_types",), "must be refuse, or pass")
        definitions = self._definitions(value)
        categories = self._categories(value)
        types = self._types(value, categories, definitions)
        return Catalogue(
            self._text(value, "title", (), "Events"),
            types,
            categories,
            definitions,
            unknown_types_pass=unknown == "pass",
        )

    def _definitions(self, value: dict[str, Any]) -> dict[str, Schema]:
        found = self._mapping(value, "$defs", ())
        for name, schema in found.items():
            if _only_itself(name, found):
                self.wrong(("$defs", name), "refers to nothing but itself")
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name, re.ASCII):
                self.wrong(("$defs", name), "the name must be made of A-Z a-z 0-9 _, as a type's name is")
            others = {other: True for other in found}
            if not self._references(schema, ("$defs", name), found) or not self._fits(schema, ("$defs", name), others):
                found = found | {name: True}  # so that others can be looked at
        return found

    def _categories(self, value: dict[str, Any]) -> dict[str, str]:
        found = self._mapping(value, "categories", ())
        for name in found:
            if _CATEGORY.fullmatch(name) is None:
                self.wrong(("categories", name), "must be a letter, and up to 63 of A-Z a-z 0-9 _ -")
            if name in self._mapping(value, "events", (), tell=False):
                self.wrong(("categories", name), "is an event type too; types= could not tell them apart")
        return {name: self._text(found, name, ("categories",), "") for name in found}

    def _types(
        self, value: dict[str, Any], categories: Mapping[str, str], definitions: Mapping[str, Schema]
    ) -> dict[str, EventType]:
        found = self._mapping(value, "events", ())
        if "events" not in value:
            self.wrong(("events",), "is missing")
        return {name: self._type(name, found, categories, definitions) for name in found}

    def _type(
        self, name: str, types: dict[str, Any], categories: Mapping[str, str], definitions: Mapping[str, Schema]
    ) -> EventType:
        path: Path = ("events", name)
        said = self._mapping(types, name, ("events",))
        self._known(said, path, _KEYS_OF_EVENT)
        if EVENT_TYPE.fullmatch(name) is None:
            self.wrong(path, "an event type is 1 to 128 of the characters A-Z a-z 0-9 _ . : -")
        elif name.startswith(RESERVED_PREFIX):
            self.wrong(path, f"the prefix {RESERVED_PREFIX!r} is the gateway's own")
        category = self._text(said, "category", path, "") or None
        if category is not None and category not in categories:
            self.wrong((*path, "category"), f"{category:.64} is none of the categories")
        description = self._text(said, "description", path, "")
        if "data" not in said:
            return EventType(name, description, category)
        schema = said["data"]
        fault = None
        if self._references(schema, (*path, "data"), definitions):
            fault = self._fits(schema, (*path, "data"), definitions)
        return EventType(name, description, category, schema, fault)

    def _fits(
        self, schema: Schema, path: Path, definitions: Mapping[str, Schema]
    ) -> Callable[[Any], Fault | None] | None:
        """What finds faults by a schema, or None, and the reason told, where it is none."""
        try:
            return self._fault_finder(schema, definitions)
        except BadSchema as error:
            self.wrong((*path, *error.path), str(error))
            return None

    def _references(self, schema: Any, path: Path, definitions: Mapping[str, Schema]) -> bool:
        """Whether all of its references are to `definitions`: nothing is ever fetched."""
        before = len(self.problems)
        if not isinstance(schema, dict | bool):
            self.wrong(path, "must be a JSON Schema: a mapping, true or false")
        for at, ref in _references(schema, path):
            known = (
                isinstance(ref, str) and ref.startswith(_DEFINITION) and ref.removeprefix(_DEFINITION) in definitions
            )
            if not known:
                self.wrong(at, f"{ref!s:.80}: a reference must be {_DEFINITION}<name>, to one of the catalogue's own")
        return len(self.problems) == before

    def _known(self, said: dict[str, Any], path: Path, keys: tuple[str, ...]) -> None:
        for name in said.keys() - set(keys):
            self.wrong((*path, name), f"is not known here; there are {', '.join(keys)}")

    def _mapping(self, said: dict[str, Any], name: str, path: Path, *, tell: bool = True) -> dict[str, Any]:
        found = said.get(name)
        if found is not None and not isinstance(found, dict) and tell:
            self.wrong((*path, name), "must be a mapping")
        return found if isinstance(found, dict) else {}

    def _text(self, said: dict[str, Any], name: str, path: Path, default: str) -> str:
        found = said.get(name)
        if found is not None and not isinstance(found, str):
            self.wrong((*path, name), "must be text; put it into quotes")
        return found if isinstance(found, str) else default


def _only_itself(name: str, definitions: Mapping[str, Any]) -> bool:
    """Whether a definition is another name of one that is another name of it."""
    at = name
    for _ in definitions:
        schema = definitions.get(at)
        ref = schema.get("$ref") if isinstance(schema, dict) else None
        at = ref.removeprefix(_DEFINITION) if isinstance(ref, str) else ""
        if at == name:
            return True
    return False


def _references(schema: Any, path: Path) -> list[tuple[Path, Any]]:
    """Every `$ref` and its kin in a schema, and where it is. `$id` would change what references mean."""
    found: list[tuple[Path, Any]] = []
    if isinstance(schema, dict):
        for name, value in schema.items():
            if name in ("$ref", "$dynamicRef", "$id", "$schema", "$anchor", "$dynamicAnchor"):
                found.append(((*path, name), value if name.endswith("ef") else f"{name} is not read"))
            elif name not in ("const", "enum", "default", "examples"):
                found += _references(value, (*path, name))
    elif isinstance(schema, list):
        for index, item in enumerate(schema):
            found += _references(item, (*path, index))
    return found
