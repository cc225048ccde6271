from __future__ import annotations

import json
from pathlib import Path

import pytest
from supply.audit import ROOT, Answer, main, oldest, read

REPORT = {
    "dependencies": [
        {"name": "sound", "version": "1.0", "vulns": []},
        {
            "name": "holey",
            "version": "2.0",
            "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["2.1"]}],
        },
        {"name": "private", "skip_reason": "Dependency not found"},
    ],
    "fixes": [],
}


def test_a_report_is_read() -> None:
    """Findings are told with the version that mends them; what was not asked about is told apart from what is sound."""
    answer = read(json.dumps(REPORT))
    assert answer.asked == ["sound 1.0", "holey 2.0"]
    assert answer.not_asked == ["private"]
    assert answer.findings == ["holey 2.0: PYSEC-1 CVE-1; fixed in 2.1"]


@pytest.mark.parametrize(
    ("answer", "status", "status_if_required", "said"),
    [
        (Answer(["a 1"], [], []), 0, 0, "asked about 1 packages: 0 findings"),
        (Answer(["a 1"], [], ["a 1: CVE-1"]), 1, 1, "a 1: CVE-1"),
        (Answer(["a 1"], ["b 1"], []), 0, 1, "not asked about b 1"),
        (Answer([], ["a 1"], []), 0, 1, "COULD NOT ASK"),
        (Answer([], [], [], "no route to host"), 0, 1, "COULD NOT ASK, so nothing is known: no route to host"),
    ],
)
def test_findings_fail_and_silence_is_told(
    answer: Answer,
    status: int,
    status_if_required: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A finding fails the audit; that nobody could be asked is said, and fails it where that is required."""
    assert main(lambda requirements: answer) == status
    assert said in capsys.readouterr().out
    monkeypatch.setenv("REQUIRE_AUDIT", "1")
    assert main(lambda requirements: answer) == status_if_required


def test_what_is_asked_about(tmp_path: Path) -> None:
    """The pinned versions, and the oldest that the package takes."""
    seen: dict[str, str] = {}

    def ask(requirements: Path) -> Answer:
        seen[requirements.stem] = requirements.read_text()
        return Answer(["a 1"], [], [])

    assert main(ask) == 0
    assert seen["pinned"] == (ROOT / "constraints.txt").read_text()
    assert "redis==" in seen["oldest"]


def test_each_requirement_has_a_lower_bound() -> None:
    """A requirement that any version satisfies is satisfied by one with a hole in it."""
    assert oldest("[options]\ninstall_requires =\n    a[b] >= 1.2, < 3\n    c>=4\n") == "a==1.2\nc==4\n"
    with pytest.raises(AssertionError, match="lower bound"):
        oldest("[options]\ninstall_requires =\n    a\n")
