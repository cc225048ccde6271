"""A catalogue as Python: `SSEEventType`, a `StrEnum`, and a type for the data of each event type."""

from __future__ import annotations

import json
import keyword
import textwrap
from collections.abc import Iterator, Mapping

from .model import Catalogue
from .shapes import (
    Anything,
    Declaration,
    ListOf,
    MapOf,
    Named,
    OneOf,
    Record,
    Scalar,
    Shape,
    Union,
    declared,
    identifiers,
)

_SCALARS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
_WIDTH = 100


def module(catalogue: Catalogue) -> str:
    """The text of a module, which needs Python 3.11 and nothing else."""
    members = identifiers(list(catalogue.types), "UPPER")
    groups = identifiers(list(catalogue.categories), "UPPER")
    found = declared(catalogue)
    descriptions = {known.name: known.description for known in catalogue.types.values()}
    lines = list(_enum("SSEEventType", f"The event types: {_one_line(catalogue.title)}.", members, descriptions))
    if groups:
        lines += _enum("SSEEventCategory", "What `types=` takes for several event types.", groups, catalogue.categories)
        lines += ["", "", "CATEGORY: Final[dict[SSEEventType, SSEEventCategory]] = {"]
        lines += [
            f"    SSEEventType.{members[known.name]}: SSEEventCategory.{groups[known.category]},"
            for known in catalogue.types.values()
            if known.category is not None
        ]
        lines += ["}"]
    for declaration in found.declarations:
        lines += _declaration(declaration)
    body = "\n".join(lines).strip("\n") + "\n"
    names = [name for name in ("Any", "Final", "Literal", "NotRequired", "TypeAlias", "TypedDict") if name in body]
    imports = ["from enum import StrEnum"] + ([f"from typing import {', '.join(names)}"] if names else [])
    head = f'"""{_one_line(catalogue.title)}. Made by `gateway catalogue --python`; not to be changed by hand."""'
    return "\n".join([head, "", "from __future__ import annotations", "", *imports, "", "", body])


def _enum(name: str, text: str, members: Mapping[str, str], descriptions: Mapping[str, str]) -> Iterator[str]:
    yield from ("", "", f"class {name}(StrEnum):", f'    """{text}"""', "")
    for word, member in members.items():
        yield from _comment(descriptions[word], "    ")
        yield f"    {member} = {_quoted(word)}"


def _declaration(declaration: Declaration) -> Iterator[str]:
    yield from ("", "")
    if not isinstance(declaration.shape, Record):
        yield from _comment(declaration.description, "")
        yield f"{declaration.name}: TypeAlias = {_quoted(_type(declaration.shape))}"
        return
    fields = declaration.shape.fields
    typed = {f.name: _type(f.shape) if f.required else f"NotRequired[{_type(f.shape)}]" for f in fields}
    if all(_is_name(name) for name in typed):
        yield f"class {declaration.name}(TypedDict):"
        yield from _comment(declaration.description, "    ")
        for field in fields:
            yield from _comment(field.description, "    ")
            yield f"    {field.name}: {typed[field.name]}"
        if not fields:
            yield "    pass"
        return
    yield from _comment(declaration.description, "")
    yield f"{declaration.name} = TypedDict("
    yield f"    {_quoted(declaration.name)},"
    yield "    {"
    for field in fields:
        yield from _comment(field.description, "        ")
        yield f"        {_quoted(field.name)}: {_quoted(typed[field.name])},"
    yield "    },"
    yield ")"


def _type(shape: Shape) -> str:
    match shape:
        case Anything() | Record():
            return "Any"
        case Scalar(name):
            return _SCALARS[name]
        case OneOf(values):
            return f"Literal[{', '.join(map(_literal, values))}]"
        case ListOf(item):
            return f"list[{_type(item)}]"
        case MapOf(value):
            return f"dict[str, {_type(value)}]"
        case Union(members):
            return " | ".join(_type(member) for member in members)
        case Named(name):
            return name


def _literal(value: str | int | bool | None) -> str:
    return _quoted(value) if isinstance(value, str) else repr(value)


def _is_name(word: str) -> bool:
    return word.isascii() and word.isidentifier() and not keyword.iskeyword(word) and not word.startswith("__")


def _quoted(text: str) -> str:
    """A string literal in double quotes, of ASCII, whatever the text holds. JSON's escapes are Python's too, but for
    those beyond the basic plane, which JSON has in two."""
    return '"' + "".join(_escaped(character) for character in text) + '"'


def _escaped(character: str) -> str:
    if ord(character) > 0xFFFF:
        return f"\\U{ord(character):08x}"
    return json.dumps(character)[1:-1]


def _comment(text: str, indent: str) -> Iterator[str]:
    for paragraph in text.splitlines():
        for line in textwrap.wrap("".join(c for c in paragraph if c.isprintable()), _WIDTH) or [""]:
            yield f"{indent}# {line}".rstrip()


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() and c not in '"\\' else " " for c in text).split())
