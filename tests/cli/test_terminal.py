"""Colours, and text from elsewhere."""

from __future__ import annotations

import io

import pytest
from cli.terminals import Terminal

from gateway.cli.terminal import Pen, printable


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    return monkeypatch


def test_colours_are_for_terminals() -> None:
    """A file or a pipe gets plain text."""
    assert Pen(Terminal()).red("no") == "\x1b[31mno\x1b[0m"
    assert Pen(io.StringIO()).red("no") == "no"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colours_may_not_be_wanted(name: str, value: str, terminal: pytest.MonkeyPatch) -> None:
    """NO_COLOR (no-color.org), or a terminal that knows none."""
    terminal.setenv(name, value)
    pen = Pen(Terminal())
    assert [pen.bold("a"), pen.dim("b"), pen.green("c"), pen.yellow("d")] == ["a", "b", "c", "d"]


def test_an_empty_no_color_is_none(terminal: pytest.MonkeyPatch) -> None:
    """As no-color.org has it."""
    terminal.setenv("NO_COLOR", "")
    assert Pen(Terminal()).bold("a") == "\x1b[1ma\x1b[0m"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"a": "é 日本 😀"}', '{"a": "é 日本 😀"}'),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("a\r\nb\u2028c", "a\\r\\nb\\u2028c"),
        ("abc\u202edef", "abc\\u202edef"),
    ],
)
def test_what_came_from_elsewhere_does_nothing_to_a_terminal(text: str, shown: str) -> None:
    """Controls, line ends and changes of direction are written as escapes; all other text as it is."""
    assert printable(text) == shown
