"""`gateway doctor`: what it prints of what was found, and how it ends. (What it finds: tests/doctor.)"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import Any

import jwt
import pytest
from cli.terminals import Terminal
from client.subscriber.scripted import position, scripted, stream

from gateway.cli import doctor, main
from gateway.cli.progress import ERASE
from gateway.doctor.report import finding, hint, ok, skipped

SECRET = "hunter2-hunter2-hunter2-hunter2-hunter2"


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GATEWAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NO_COLOR", "1")


async def examined(*flags: str) -> int:
    """Of a server that gives streams and takes no events, so it is soon done."""
    async with scripted(stream(position(1), ends=False)) as server:
        flags = (server.url, "--idle", "0.1", "--connections", "1", *flags)
        return await asyncio.to_thread(main, ["doctor", *flags])


async def test_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    """A line a check, then a count; what mends a finding stands below it."""
    assert await examined("--user", "42") == 1
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert err == ""
    assert lines[0].startswith("http://127.0.0.1:")
    assert lines[0].endswith(", as 42")
    assert "ok       opening     1 at once; the first bytes of each within " in out
    at = next(number for number, line in enumerate(lines) if line.startswith("FINDING  headers"))
    assert lines[at + 1] == f"{' ' * 21}→ nginx, in `location = /v1/events`: proxy_pass_header X-Accel-Buffering;"
    assert "-        cors        give --origin https://app.example.com" in out
    assert lines[-1].endswith("2 findings, 6 not looked at")


async def test_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """The same for programs, and nothing else."""
    assert await examined("--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["well"], set(found)) == (False, {"url", "well", "checks"})
    missing = next(check for check in found["checks"] if check["check"] == "headers")
    assert missing["outcome"] == "finding"
    assert missing["mend"] == ["nginx, in `location = /v1/events`: proxy_pass_header X-Accel-Buffering;"]


async def test_progress_at_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A bar says what is looked at, and makes room for each result."""
    err = Terminal()
    monkeypatch.setattr(sys, "stderr", err)
    await examined()
    assert "waiting, whether a quiet stream is cut" in err.getvalue()
    assert err.getvalue().endswith(ERASE)


async def test_who_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the gateway's secret, a token for a user of its own; else by name."""
    for secret in (None, SECRET):
        async with scripted(stream(position(1), ends=False)) as server:
            if secret is not None:
                monkeypatch.setenv("GATEWAY_JWT_SECRET", secret)
            flags = [server.url, "--idle", "0.1", "--connections", "1", "--json"]
            await asyncio.to_thread(main, ["doctor", *flags])
        asked = next(request for request in server.requests if request.path == "/v1/events")
        if secret is None:
            assert asked.query["user"].startswith("doctor-")
        else:
            shown = asked.headers["Authorization"].removeprefix("Bearer ")
            assert jwt.decode(shown, secret, algorithms=["HS256"])["sub"].startswith("doctor-")


def test_each_outcome_has_its_look(capsys: pytest.CaptureFixture[str]) -> None:
    """Long lines are wrapped, and what came from elsewhere does nothing to a terminal."""
    told = doctor._Told()
    for check in (ok("a", "well"), hint("b", "x " * 60, "do " * 40), finding("c", "\x1b[2J"), skipped("d", "not")):
        told(check)
    lines = capsys.readouterr().out.splitlines()
    assert [line[:9].strip() for line in lines] == ["ok", "hint", "", "", "", "FINDING", "-"]
    assert lines[5].endswith("\\x1b[2J")
    assert max(map(len, lines)) <= 21 + doctor.WIDTH


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["redis://h"], "URL: expected the gateway's address"),
        (["http://u:hunter2@h"], "URL: must not hold credentials"),
        (["http://h", "--internal", "h:80"], "--internal: expected the gateway's address"),
        (["http://h", "--token", "hunter2"], "the token is no JWT with a user id as its sub"),
        (["http://h", "--user", "a b"], "user_id: must be 1 to 128"),
        (["http://h", "--token", jwt.encode({"sub": "a"}, SECRET), "--user", "b"], "--user, and a token, which says"),
        (["http://127.0.0.1:1"], "http://127.0.0.1:1: cannot connect (Connection refused); is the port right"),
        (
            ["http://127.0.0.1:1", "--token", jwt.encode({"sub": "a", "exp": time.time() - 60}, SECRET)],
            "http://127.0.0.1:1: cannot connect",
        ),
    ],
)
def test_nothing_to_look_at(flags: list[str], said: str, capsys: pytest.CaptureFixture[Any]) -> None:
    """One line on stderr, without a secret; status 2."""
    assert main(["doctor", *flags, "--json"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"gateway: {said}")
    assert "hunter2" not in err


@pytest.mark.parametrize("flags", [["--idle", "0"], ["--idle", "nan"], ["--connections", "0"]])
def test_numbers(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A number that cannot be is refused with what is expected."""
    with pytest.raises(SystemExit):
        main(["doctor", "http://h", *flags])
    assert f"argument {flags[0]}: {flags[1]!r}: expected" in capsys.readouterr().err
