"""A catalogue's file: what it says, and every mistake by file, line and type, before anything is served."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pytest

from gateway.catalogue import CatalogueError, load
from gateway.config import ConfigError

EVENTS = Path(__file__).parent / "events.yaml"
GOOD = "catalogue: 1\nevents:\n"


def problems(tmp_path: Path, text: str | bytes) -> list[str]:
    """What is told of a file, without its name."""
    file = tmp_path / "events.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(CatalogueError) as caught:
        load(str(file))
    assert isinstance(caught.value, ConfigError)
    assert all(problem.startswith(f"{file}:") for problem in caught.value.problems)
    return [problem.removeprefix(f"{file}:") for problem in caught.value.problems]


def test_what_it_says() -> None:
    """Event types and categories in the file's order, and what belongs to a category."""
    catalogue = load(str(EVENTS))
    assert catalogue.title == "Acme accounts"
    assert list(catalogue.types) == ["sync.accounts.completed", "sync.accounts.failed", "invoice.paid", "ping"]
    assert catalogue.categories["sync"] == "Accounts being synchronised"
    assert catalogue.types["sync.accounts.completed"].description == "All accounts of a provider were read."
    assert catalogue.types["ping"].category is None
    assert not catalogue.unknown_types_pass
    assert catalogue.expanded(["sync", "ping", "order.*"]) == [
        "sync.accounts.completed",
        "sync.accounts.failed",
        "ping",
        "order.*",
    ]


WRONG: dict[str, tuple[str, str]] = {
    "nothing": ("", "1: a catalogue is a mapping that begins with `catalogue: 1`"),
    "a list": ("- a", "1: a catalogue is a mapping"),
    "no version": ("events: {}", "1: catalogue: must be 1"),
    "another version": ("catalogue: 2\nevents: {}", "1: catalogue: must be 1"),
    "true as version": ("catalogue: true\nevents: {}", "1: catalogue: must be 1"),
    "no events": ("catalogue: 1", "1: events: is missing"),
    "events in a list": ("catalogue: 1\nevents: [a]", "2: events: must be a mapping"),
    "an unknown key": (GOOD + "  a: {}\ntitel: x", "4: titel: is not known here; there are catalogue,"),
    "an unknown key of a type": (GOOD + "  a:\n    colour: red", "4: events: a: colour: is not known here"),
    "unknown types may be": (GOOD + "  a: {}\nunknown_types: maybe", "4: unknown_types: must be refuse, or pass"),
    "a bad type": (GOOD + "  a b: {}", "3: events: a b: an event type is 1 to 128"),
    "the gateway's type": (GOOD + "  gateway.x: {}", "3: events: gateway.x: the prefix 'gateway.'"),
    "a type twice": (GOOD + "  a: {}\n  a: {}", "4: a stands here twice"),
    "no such category": (GOOD + "  a:\n    category: x", "4: events: a: category: x is none of the categories"),
    "a category with a dot": (GOOD + "  a: {}\ncategories: {b.c: x}", "4: categories: b.c: must be a letter"),
    "a category as a type": (GOOD + "  a: {}\ncategories:\n  a: x", "5: categories: a: is an event type too"),
    "a number as description": (GOOD + "  a:\n    description: 7", "4: events: a: description: must be text"),
    "no schema": (GOOD + "  a:\n    data: 7", "4: events: a: data: must be a JSON Schema"),
    "a bad keyword": (GOOD + "  a:\n    data:\n      minimum: x", "5: events: a: data.minimum: not a JSON Schema"),
    "a bad type in a schema": (GOOD + "  a:\n    data:\n      type: strang", "5: events: a: data.type: not a JSON"),
    "a bad pattern": (GOOD + "  a: {data: {pattern: '('}}", '3: events: a: data.pattern: not a JSON Schema'),
    "a pattern that takes its time": (GOOD + "  a: {data: {pattern: '(?=a)b'}}", "3: events: a: data.pattern: not a"),
    "a remote reference": (
        GOOD + "  a:\n    data:\n      $ref: http://127.0.0.1:1/x",
        "5: events: a: data.$ref: http://127.0.0.1:1/x: a reference must be #/$defs/<name>",
    ),
    "a file as reference": (GOOD + "  a: {data: {$ref: 'file:///etc/passwd'}}", "3: events: a: data.$ref: file:///"),
    "a reference to nothing": (GOOD + "  a: {data: {$ref: '#/$defs/X'}}", "3: events: a: data.$ref: #/$defs/X: a"),
    "a reference in depth": (
        GOOD + "  a:\n    data:\n      items:\n        anyOf:\n        - $ref: '#/x'",
        "7: events: a: data.items.anyOf.0.$ref: #/x: a reference must be",
    ),
    "a dynamic reference": (GOOD + "  a: {data: {$dynamicRef: 'http://x'}}", "3: events: a: data.$dynamicRef: http"),
    "an $id": (GOOD + "  a: {data: {$id: 'http://x'}}", "3: events: a: data.$id: $id is not read"),
    "another draft": (GOOD + "  a: {data: {$schema: 'http://x'}}", "3: events: a: data.$schema: $schema is not read"),
    "a bad definition": (GOOD + "  a: {}\n$defs:\n  X: {minimum: x}", "5: $defs: X: minimum: not a JSON Schema"),
    "a definition's name": (GOOD + "  a: {}\n$defs:\n  x-y: {}", "5: $defs: x-y: the name must be made of"),
    "a definition of itself": (GOOD + "  a: {}\n$defs:\n  X: {$ref: '#/$defs/X'}", "5: $defs: X: refers to nothing"),
    "tabs": (GOOD + "\ta: {}", "3: not YAML"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, name: str) -> None:
    text, expected = WRONG[name]
    told = problems(tmp_path, text)
    assert [problem for problem in told if problem.startswith(expected)], told


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """In the order of lines; and a bad definition does not hide what is wrong with those that refer to it."""
    text = """\
catalogue: 1
events:
  a: {data: {$ref: "#/$defs/Bad"}}
  b: {data: {type: strang}}
  gateway.c: {}
$defs:
  Bad: {minimum: x}
"""
    told = problems(tmp_path, text)
    assert [problem.partition(":")[0] for problem in told] == ["4", "5", "7"]


def test_circles_of_definitions_are_told(tmp_path: Path) -> None:
    """A definition may refer to itself within, but not be nothing else."""
    names = ["A: {$ref: '#/$defs/B'}", "B: {$ref: '#/$defs/A'}", "C: {$ref: '#/$defs/A'}"]
    told = problems(tmp_path, GOOD + "  a: {}\n$defs:\n  " + "\n  ".join(names))
    assert [problem.partition(":")[0] for problem in told] == ["5", "6"]
    (tmp_path / "tree.yaml").write_text(
        GOOD + "  a: {data: {$ref: '#/$defs/T'}}\n$defs:\n  T: {items: {$ref: '#/$defs/T'}}"
    )
    assert load(str(tmp_path / "tree.yaml")).types["a"].fault is not None


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """Missing, a folder, no UTF-8, too large: one line."""
    for path in (tmp_path / "nothing.yaml", tmp_path):
        with pytest.raises(CatalogueError, match="cannot be read"):
            load(str(path))
    assert problems(tmp_path, b"catalogue: \xff") == [" is not UTF-8 text"]
    assert problems(tmp_path, b"#" * 1_048_577) == [" is 1048577 bytes; at most 1048576 are read"]


def test_nothing_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even while a reference is refused: no socket is opened."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr("socket.socket.connect", refuse)
    problems(tmp_path, GOOD + "  a: {data: {$ref: 'http://127.0.0.1:9/x'}}")


def test_without_its_libraries_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("yaml") or "source" in name:
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(CatalogueError, match=r"pip install 'event-gateway\[catalogue\]'"):
        load(str(EVENTS))
