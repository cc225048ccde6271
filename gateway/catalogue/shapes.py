"""JSON Schemas as the few shapes that type systems have in common. What has none of them is `Any`: never a wrong type.

A type promises less than its schema: bounds, patterns and the like are left to the gateway, which checks them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from .model import Catalogue, Schema

TAKEN = (
    *("SSEEventType", "SSEEventCategory", "SSEEvents", "None", "True", "False", "StrEnum", "Any", "Final", "Literal"),
    *("NotRequired", "TypeAlias", "TypedDict", "Array", "Record"),
)
"""Names that mean something else in what is written."""

SCALARS = ("string", "integer", "number", "boolean", "null")
_DEFINITION = "#/$defs/"


@dataclass(frozen=True, slots=True)
class Anything:
    pass


@dataclass(frozen=True, slots=True)
class Scalar:
    """`name` is JSON Schema's."""

    name: str


@dataclass(frozen=True, slots=True)
class OneOf:
    """Literal values: strings, integers, booleans and null."""

    values: tuple[str | int | bool | None, ...]


@dataclass(frozen=True, slots=True)
class ListOf:
    item: Shape


@dataclass(frozen=True, slots=True)
class MapOf:
    value: Shape


@dataclass(frozen=True, slots=True)
class Union:
    members: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class Named:
    """By the name of a `Declaration`."""

    name: str


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    shape: Shape
    required: bool
    description: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    fields: tuple[Field, ...]


Shape: TypeAlias = "Anything | Scalar | OneOf | ListOf | MapOf | Union | Named | Record"

ANYTHING = Anything()


@dataclass(frozen=True, slots=True)
class Declaration:
    name: str
    shape: Shape
    description: str = ""


@dataclass(frozen=True, slots=True)
class Declared:
    """`payloads` is the name of the declaration of each event type's data, by event type."""

    declarations: Sequence[Declaration]
    payloads: Mapping[str, str]


def declared(catalogue: Catalogue) -> Declared:
    """What a catalogue's schemas declare, those that are referred to first."""
    reading = _Reading(catalogue)
    return Declared(reading.declarations, reading.payloads)


def identifiers(words: Sequence[str], form: str, taken: set[str] | None = None) -> dict[str, str]:
    """An identifier for each of the words, no two the same. `form` is `Pascal` or `UPPER`."""
    given: dict[str, str] = {}
    taken = set() if taken is None else taken
    for word in words:
        given[word] = free(_identifier(word, form), taken)
    return given


def free(name: str, taken: set[str]) -> str:
    """`name`, or with a number behind it; taken from then on."""
    found = next(candidate for candidate in _candidates(name) if candidate not in taken)
    taken.add(found)
    return found


def _candidates(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name}_{number}" for number in range(2, 100_000))


def _identifier(word: str, form: str) -> str:
    parts = re.findall(r"[A-Za-z0-9]+", word)
    name = "_".join(parts).upper() if form == "UPPER" else "".join(part[0].upper() + part[1:] for part in parts)
    return name if name and not name[0].isdigit() else f"T{name}"


@dataclass
class _Reading:
    catalogue: Catalogue
    declarations: list[Declaration] = field(default_factory=list)
    payloads: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._taken = set(TAKEN)
        definitions, types = self.catalogue.definitions, self.catalogue.types
        self._names = identifiers(list(definitions), "Pascal", self._taken)
        self.payloads = identifiers(list(types), "Pascal", self._taken)
        for word, schema in definitions.items():
            self._declare(self._names[word], schema, "")
        for known in types.values():
            name = self.payloads[known.name]
            text = f"Data of {known.name}." + (f" {known.description}" if known.description else "")
            self._declare(name, True if known.schema is None else known.schema, text)

    def _declare(self, name: str, schema: Schema, description: str) -> None:
        shape = self._shape(schema, name)
        self.declarations.append(Declaration(name, shape, description or _description(schema)))

    def _shape(self, schema: Any, name: str) -> Shape:
        """`name` is what a record would be called that stands in it."""
        if not isinstance(schema, dict):
            return ANYTHING
        if "$ref" in schema:
            return Named(self._names[schema["$ref"].removeprefix(_DEFINITION)])
        if "const" in schema or "enum" in schema:
            values = [schema["const"]] if "const" in schema else schema["enum"]
            plain = all(value is None or isinstance(value, str | int) for value in values) and values
            return OneOf(tuple(dict.fromkeys(values))) if plain else ANYTHING
        for word in ("oneOf", "anyOf"):
            if word in schema:
                return _union([self._inside(item, name) for item in schema[word]])
        if "allOf" in schema:
            return self._shape(schema["allOf"][0], name) if len(schema["allOf"]) == 1 else ANYTHING
        kinds = schema.get("type", "object" if "properties" in schema else None)
        if isinstance(kinds, list):
            return _union([self._inside(schema | {"type": kind}, name) for kind in kinds])
        return self._of_type(kinds, schema, name)

    def _of_type(self, kind: str | None, schema: dict[str, Any], name: str) -> Shape:
        if kind in SCALARS:
            return Scalar(kind)
        if kind == "array":
            items = schema.get("items", True) if "prefixItems" not in schema else True
            return ListOf(self._inside(items, f"{name}Item"))
        if kind == "object" and "properties" in schema:
            return self._record(schema, name)
        if kind == "object":
            return MapOf(self._inside(schema.get("additionalProperties", True), f"{name}Value"))
        return ANYTHING

    def _record(self, schema: dict[str, Any], name: str) -> Record:
        required = schema.get("required", [])
        return Record(
            tuple(
                Field(
                    word, self._inside(inner, name + _identifier(word, "Pascal")), word in required, _description(inner)
                )
                for word, inner in schema["properties"].items()
            )
        )

    def _inside(self, schema: Any, name: str) -> Shape:
        """A shape within another, where a record needs a name."""
        shape = self._shape(schema, name)
        if not isinstance(shape, Record):
            return shape
        name = free(name, self._taken)
        self.declarations.append(Declaration(name, shape, _description(schema)))
        return Named(name)


def _union(members: list[Shape]) -> Shape:
    return ANYTHING if ANYTHING in members or not members else Union(tuple(dict.fromkeys(members)))


def _description(schema: Any) -> str:
    said = schema.get("description", "") if isinstance(schema, dict) else ""
    return said if isinstance(said, str) else ""
