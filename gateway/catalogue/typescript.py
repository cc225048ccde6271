"""A catalogue as TypeScript: the event types, and a type for the data of each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

from .model import Catalogue
from .shapes import Anything, Declaration, ListOf, MapOf, Named, OneOf, Record, Scalar, Shape, Union, declared

_SCALARS = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}
_NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*", re.ASCII)


def module(catalogue: Catalogue) -> str:
    """The text of a module, which needs TypeScript 4.9 and nothing else."""
    found = declared(catalogue)
    lines = [
        f"// {_words(catalogue.title)}. Made by `gateway catalogue --typescript`; not to be changed by hand.",
        "",
        "/** The data of each event type. */",
        "export interface SSEEvents {",
    ]
    for known in catalogue.types.values():
        lines += _comment(known.description, "  ")
        lines += [f"  {_quoted(known.name)}: {found.payloads[known.name]};"]
    lines += ["}", "", "export type SSEEventType = keyof SSEEvents;", ""]
    lines += [f"export const SSE_EVENT_TYPES = {_list(catalogue.types)} as const satisfies readonly SSEEventType[];"]
    if catalogue.categories:
        lines += ["", "/** What `types=` takes for several event types. */", "export const SSE_CATEGORIES = {"]
        lines += [f"  {_quoted(name)}: {_list(members)}," for name, members in catalogue.members.items()]
        lines += ["} as const satisfies Record<string, readonly SSEEventType[]>;"]
        lines += ["", "export type SSEEventCategory = keyof typeof SSE_CATEGORIES;"]
    for declaration in found.declarations:
        lines += ["", *_declaration(declaration)]
    return "\n".join(lines) + "\n"


def _declaration(declaration: Declaration) -> Iterator[str]:
    yield from _comment(declaration.description, "")
    if not isinstance(declaration.shape, Record):
        yield f"export type {declaration.name} = {_type(declaration.shape)};"
        return
    yield f"export interface {declaration.name} {{"
    for field in declaration.shape.fields:
        yield from _comment(field.description, "  ")
        name = field.name if _NAME.fullmatch(field.name) else _quoted(field.name)
        yield f"  {name}{'' if field.required else '?'}: {_type(field.shape)};"
    yield "}"


def _type(shape: Shape) -> str:
    match shape:
        case Anything() | Record():
            return "unknown"
        case Scalar(name):
            return _SCALARS[name]
        case OneOf(values):
            return " | ".join(json.dumps(value) for value in values)
        case ListOf(item):
            return f"Array<{_type(item)}>"
        case MapOf(value):
            return f"Record<string, {_type(value)}>"
        case Union(members):
            return " | ".join(_type(member) for member in members)
        case Named(name):
            return name


def _quoted(text: str) -> str:
    return json.dumps(text)


def _list(words: Iterable[str]) -> str:
    return json.dumps(list(words))


def _comment(text: str, indent: str) -> Iterator[str]:
    if words := _words(text):
        yield f"{indent}/** {words} */"


def _words(text: str) -> str:
    """On one line, and without what would end a comment."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split()).replace("*/", "* /")
