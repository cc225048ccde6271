"""A YAML file as plain values, and the line of each.

Rule: no surprises. Of YAML this reads what JSON has, with its comments and its way of writing: `on`, `no` and
`2026-01-01` are strings, a key is a string and stands once, and there are neither tags nor aliases (of which ten lines
make a billion nodes).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeAlias

import yaml

MAX_BYTES = 1_048_576
MAX_DEPTH = 64

Path: TypeAlias = "tuple[str | int, ...]"

_STR, _SEQ, _MAP = (f"tag:yaml.org,2002:{name}" for name in ("str", "seq", "map"))
_READ: dict[str, Callable[[str], Any]] = {
    "tag:yaml.org,2002:null": lambda text: None,
    "tag:yaml.org,2002:bool": lambda text: text == "true",
    "tag:yaml.org,2002:int": int,
    "tag:yaml.org,2002:float": float,
    _STR: str,
}


class Unreadable(Exception):
    """`line` counts from 1."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line = line
        self.problem = problem


class _Loader(yaml.SafeLoader):
    """Of the words that YAML 1.1 takes for something else than a string, those that JSON has."""


_Loader.yaml_implicit_resolvers = {}

for _tag, _pattern, _first in (
    ("null", r"null|~|", ["n", "~", ""]),
    ("bool", r"true|false", ["t", "f"]),
    ("int", r"-?(0|[1-9][0-9]*)", list("-0123456789")),
    ("float", r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?", list("-0123456789")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), _first)


def parse(text: str) -> tuple[Any, dict[Path, int]]:
    """The value, and the line of everything in it by its path. Raises `Unreadable`."""
    try:
        node = yaml.compose(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Unreadable(mark.line + 1 if mark else 1, f"not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise Unreadable(1, f"not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise Unreadable(1, "nested too deeply") from None
    lines: dict[Path, int] = {}
    return None if node is None else _value(node, (), lines, set()), lines


def _value(node: yaml.Node, path: Path, lines: dict[Path, int], seen: set[int]) -> Any:
    line = node.start_mark.line + 1
    lines.setdefault(path, line)
    if id(node) in seen:
        raise Unreadable(line, "aliases (*name) are not read here; write it out, or use $defs")
    seen.add(id(node))
    if len(path) > MAX_DEPTH:
        raise Unreadable(line, "nested too deeply")
    if isinstance(node, yaml.MappingNode) and node.tag == _MAP:
        return _mapping(node, path, lines, seen)
    if isinstance(node, yaml.SequenceNode) and node.tag == _SEQ:
        return [_value(item, (*path, index), lines, seen) for index, item in enumerate(node.value)]
    if isinstance(node, yaml.ScalarNode) and node.tag in _READ:
        return _READ[node.tag](_whole(node.value, line))
    raise Unreadable(line, f"tags ({node.tag}) are not read here")


def _mapping(node: yaml.MappingNode, path: Path, lines: dict[Path, int], seen: set[int]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode) or key.tag != _STR:
            raise Unreadable(line, f"a key must be a string; put {getattr(key, 'value', 'it')!s:.40} into quotes")
        name = _whole(key.value, line)
        if name in found:
            raise Unreadable(line, f"{name} stands here twice")
        lines[*path, name] = line
        found[name] = _value(value, (*path, name), lines, seen)
    return found


def _whole(text: str, line: int) -> str:
    """With characters for pairs of surrogates, which JSON writes as escapes, and PyYAML leaves as they are."""
    try:
        return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise Unreadable(line, "holds half a character (a lone surrogate)") from None
