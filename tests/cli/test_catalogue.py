"""`gateway catalogue`."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.cli import main

EVENTS = str(Path(__file__).parent.parent / "catalogue" / "events.yaml")


def test_it_lists_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each event type, with its category and description."""
    assert main(["catalogue", EVENTS]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split(maxsplit=2) == ["sync.accounts.completed", "sync", "All accounts of a provider were read."]
    assert lines[-1] == "4 event types; others are refused"


@pytest.mark.parametrize(("flag", "begins"), [("--python", '"""Acme accounts.'), ("--typescript", "// Acme accounts.")])
def test_it_writes_code(capsys: pytest.CaptureFixture[str], flag: str, begins: str) -> None:
    assert main(["catalogue", EVENTS, flag]) == 0
    assert capsys.readouterr().out.startswith(begins)


def test_what_is_wrong_is_told_line_by_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr, with status 2, and nothing is written."""
    file = tmp_path / "events.yaml"
    file.write_text("catalogue: 1\nevents:\n  a b: {}\n  b: {data: 7}\n")
    assert main(["catalogue", str(file), "--python"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split(": ")[1] for line in err.splitlines()] == [f"{file}:3", f"{file}:4"]


def test_both_languages_at_once_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["catalogue", EVENTS, "--python", "--typescript"])
