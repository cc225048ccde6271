"""YAML without surprises: what JSON has, the line of everything, and a refusal for the rest."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.catalogue.source import MAX_DEPTH, Unreadable, parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("on", "on"),
        ("no", "no"),
        ("2026-01-01", "2026-01-01"),
        ("0x10", "0x10"),
        ("007", "007"),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        (".5", ".5"),
        (".inf", ".inf"),
        ("=", "="),
        ("true", True),
        ("True", "True"),
        ("null", None),
        ("-7", -7),
        ("1e3", 1000.0),
        ("-0.5", -0.5),
        ("'1'", "1"),
        ("[1, a, {b: c}]", [1, "a", {"b": "c"}]),
        ("on: off\nyes: 1", {"on": "off", "yes": 1}),
        ("a: |\n  x\n  y\n", {"a": "x\ny\n"}),
    ],
)
def test_words_are_what_json_would_have_them(text: str, value: Any) -> None:
    """Only `true`, `false`, `null`, numbers as JSON writes them, and `~` are not strings."""
    read = parse(text)[0]
    assert (read, type(read)) == (value, type(value))


def test_everything_has_its_line() -> None:
    """A key's line is that of the key, an item's that of the item."""
    _, lines = parse("a:\n  b: 1\n  c:\n  - x\n  -\n    d: 2\n")
    assert lines[("a", "b")] == 2
    assert lines[("a", "c")] == 3
    assert lines[("a", "c", 0)] == 4
    assert lines[("a", "c", 1, "d")] == 6


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("a: 1\nb: 2\na: 3", 3, "twice"),
        ("a: &x 1\nb: *x", 1, "aliases"),
        ("a: [\n", 2, "not YAML"),
        ("a: b: c", 1, "not YAML"),
        ("a: 1\n\tb: 2", 2, "not YAML"),
        ("a: \0", 1, "not YAML"),
        ("--- 1\n--- 2", 2, "not YAML"),
        ("a: *nobody", 1, "not YAML"),
        ("a: !!python/object/apply:os.system [id]", 1, "tags"),
        ("a: !!binary aGk=", 1, "tags"),
        ("a: !!set {x}", 1, "tags"),
        ("1: a", 1, "a key must be a string"),
        ("? [a]\n: b", 1, "a key must be a string"),
        ("null: a", 1, "a key must be a string"),
        ("[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2), 1, "too deeply"),
        ("[" * 1000 + "]" * 1000, 1, "too deeply"),
        ('a: "\\ud800"', 1, "half a character"),
    ],
)
def test_what_is_not_read_is_told_with_its_line(text: str, line: int, word: str) -> None:
    with pytest.raises(Unreadable, match=word) as caught:
        parse(text)
    assert caught.value.line == line


def test_a_billion_laughs_are_none() -> None:
    """Aliases are refused before anything is made of them."""
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    with pytest.raises(Unreadable, match="aliases"):
        parse(bomb)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=200, deadline=None)
@given(values)
def test_json_is_read_as_it_is(value: Any) -> None:
    """JSON is YAML; what PyYAML cannot read of it is refused, and nothing is read as something else."""
    try:
        assert parse(json.dumps(value))[0] == value
    except Unreadable as error:
        assert error.line == 1
        assert error.problem.startswith("not YAML")
