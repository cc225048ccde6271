"""Asks whether the pinned dependencies, and the oldest ones that setup.cfg takes, have known vulnerabilities.

A finding fails. Where nobody could be asked (no network, or an index without advisories) it says so and passes,
since nothing was found wrong; `REQUIRE_AUDIT=1` makes that a failure too.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
WITHIN = 240.0
_LOWER_BOUND = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*>=\s*([^\s,;]+)")

Ask = Callable[[Path], "Answer"]


class Answer(NamedTuple):
    """`asked` and `not_asked` are packages, `findings` lines to print, `failure` why there was no answer at all."""

    asked: list[str]
    not_asked: list[str]
    findings: list[str]
    failure: str = ""


def pinned() -> str:
    return (ROOT / "constraints.txt").read_text()


def oldest(setup: str) -> str:
    """The lower bounds of what the gateway needs at run time, as pins."""
    parser = configparser.ConfigParser()
    parser.read_string(setup)
    lines = parser["options"]["install_requires"].strip().splitlines()
    bounds = [_LOWER_BOUND.match(line.strip()) for line in lines]
    assert all(bounds), f"a requirement without a lower bound: {lines}"
    return "".join(f"{bound[1]}=={bound[2]}\n" for bound in bounds if bound)


def pip_audit(requirements: Path) -> Answer:
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(requirements)]
    command += ["--no-deps", "--disable-pip", "--format=json", "--progress-spinner=off"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN, stdin=subprocess.DEVNULL)
        return read(done.stdout) if done.returncode in (0, 1) else _failed(done.stderr)
    except subprocess.TimeoutExpired:
        return Answer([], [], [], f"no answer within {WITHIN:.0f} s")
    except json.JSONDecodeError:
        return _failed(done.stderr)


def read(report: str) -> Answer:
    """pip-audit's JSON."""
    answer = Answer([], [], [])
    for package in json.loads(report)["dependencies"]:
        name = f"{package['name']} {package.get('version', '')}".strip()
        (answer.not_asked if "skip_reason" in package else answer.asked).append(name)
        for found in package.get("vulns", []):
            fixed = ", ".join(found["fix_versions"]) or "no version yet"
            answer.findings.append(f"{name}: {found['id']} {' '.join(found.get('aliases', []))}; fixed in {fixed}")
    return answer


def _failed(stderr: str) -> Answer:
    lines = stderr.strip().splitlines()
    return Answer([], [], [], lines[-1] if lines else "pip-audit failed without a word")


def main(ask: Ask = pip_audit) -> int:
    required = os.environ.get("REQUIRE_AUDIT") == "1"
    status = 0
    with tempfile.TemporaryDirectory() as directory:
        for what, pins in (("pinned", pinned()), ("oldest", oldest((ROOT / "setup.cfg").read_text()))):
            requirements = Path(directory, f"{what}.txt")
            requirements.write_text(pins)
            answer = ask(requirements)
            for line in answer.findings:
                print(f"audit ({what}): {line}")
            if not answer.asked:
                why = answer.failure or f"the index knows no advisories for any of {len(answer.not_asked)} packages"
                print(f"audit ({what}): COULD NOT ASK, so nothing is known: {why[:300]}")
            else:
                print(f"audit ({what}): asked about {len(answer.asked)} packages: {len(answer.findings)} findings")
            if answer.asked and answer.not_asked:
                print(f"audit ({what}): not asked about {', '.join(answer.not_asked)}")
            incomplete = bool(answer.not_asked) or not answer.asked
            status |= bool(answer.findings) or (required and incomplete)
    return int(status)
