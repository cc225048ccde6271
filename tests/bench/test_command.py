"""`gateway bench` with what cannot be right: one line that says what, and what to do."""

from __future__ import annotations

import asyncio
import os
import resource
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from bench.test_stream import HEAD, answering
from servers import HOST, free_port

from gateway.bench import run
from gateway.bench.plan import Address, Plan, Subscriber, Target
from gateway.bench.run import Run
from gateway.cli import bench, main
from gateway.client.http import HttpTransport

SECRET = "hunter2-hunter2-hunter2-hunter2-hunter2"


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GATEWAY_")]:
        monkeypatch.delenv(name)


def token(**claims: Any) -> str:
    return jwt.encode({"sub": "42", "exp": int(time.time()) + 3600} | claims, SECRET)


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """What was said, which must be one line on stderr, without any secret."""
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("gateway: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert "hunter2" not in err
    return err.removeprefix("gateway: ").strip()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--rate", "0"], "--rate 0: expected events a second, a number greater than 0, such as 50"),
        (["--rate", "nan"], "--rate nan: expected events a second, a number greater than 0, such as 50"),
        (["--rate", "fast"], "--rate fast: expected events a second, a number greater than 0, such as 50"),
        (["--seconds", "-1"], "--seconds -1: expected a number greater than 0, such as 10"),
        (["--seconds", "inf"], "--seconds inf: expected a number greater than 0, such as 10"),
        (["--connections", "0"], "--connections 0: expected a whole number of 1 or more, such as 100"),
        (["--connections", "1.5"], "--connections 1.5: expected a whole number of 1 or more, such as 100"),
        (["--to", "all"], "--to all: expected one of users, topic, broadcast"),
        (["--seconds", "1e6"], "--rate times --seconds: at most 1,000,000 events are accounted for"),
        (["--url", "redis://h"], "--url redis://h: expected the gateway's address, "),
        (["--url", "http://u:hunter2@h"], "--url http://u:********@h: must not hold credentials"),
        (["--publish-url", "h:80"], "--publish-url h:80: expected the gateway's address, "),
        (["--token", "hunter2"], "the token is no JWT with a user id as its sub; `gateway token` makes one"),
        (["--token", ""], "the token is no JWT with a user id as its sub; `gateway token` makes one"),
        (["--token", token() + "\r\nX: y"], "the token is no JWT with a user id as its sub; "),
        (["--token", token(sub="a b")], "the token is no JWT with a user id as its sub; "),
        (["--token", token(exp=1)], "the token has expired; `gateway token --ttl SECONDS` makes one that lives longer"),
        (["--token", token(), "--seconds", "9999"], "the token ends in "),
        (["--token", token(), "--jwt-secret", SECRET], "--token, --token-file, --jwt-secret: give only one of them"),
        (["--token-file", "/nowhere"], "--token-file /nowhere: cannot be read: No such file or directory"),
        (["--jwt-secret", "hunter2"], "GATEWAY_JWT_SECRET=******** (flag): expected 32 bytes or more, "),
        (["--publish-key", "hunter2 hunter2"], "GATEWAY_PUBLISHER_KEY=******** (flag): expected visible ASCII "),
    ],
)
def test_it_cannot_be_right(flags: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A value that cannot be right is refused before anything is opened."""
    assert main(["bench", *flags]) == 2
    assert one_line(capsys).startswith(said)


def test_a_token_file_that_is_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that cannot hold a token is told as such."""
    file = tmp_path / "token"
    file.write_bytes(b"\xff")
    assert main(["bench", "--token-file", str(file)]) == 2
    assert one_line(capsys) == f"--token-file {file}: cannot be read: not ASCII text"


def test_too_few_files(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """More streams than the process may have files is refused before anything is opened."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, 200))
    assert main(["bench", "--connections", "500"]) == 2
    assert one_line(capsys).startswith(
        "500 connections need 628 open files and the limit is 200: raise it (`ulimit -n "
    )


def test_nobody_there(capsys: pytest.CaptureFixture[str]) -> None:
    """When nothing listens, the line says how to start a gateway."""
    url = f"http://{HOST}:{free_port()}"
    assert main(["bench", "--url", url]) == 2
    assert one_line(capsys) == (
        f"{url}: cannot connect (Connection refused); start a gateway there with `gateway serve --dev`, "
        "or give another --url"
    )


async def test_no_gateway(capsys: pytest.CaptureFixture[str]) -> None:
    """A server that is no gateway is told from one."""
    async with answering(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi") as address:
        assert await asyncio.to_thread(main, ["bench", "--url", address.base]) == 2
    assert one_line(capsys) == (
        f"{address.base}: 200 text/html, not an event stream; is it a gateway's address? Give another with --url"
    )


async def test_streams_without_publishing(capsys: pytest.CaptureFixture[str]) -> None:
    """A server that streams, and takes no events, is told as such."""
    publishing = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    async with answering(HEAD, stays=True) as streams, answering(publishing) as other:
        flags = ["--url", streams.base, "--publish-url", other.base]
        assert await asyncio.to_thread(main, ["bench", *flags]) == 2
    assert one_line(capsys).startswith(f"{other.base} does not take events (HTTP 200, not 202")


async def test_what_does_not_arrive(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An event that is accepted and does not arrive ends the run before it begins, as a loss."""
    monkeypatch.setattr(run, "PROBE_WITHIN", 0.1)
    publishing = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}"
    async with answering(HEAD, stays=True) as streams, answering(publishing) as other:
        flags = ["--url", streams.base, "--publish-url", other.base]
        assert await asyncio.to_thread(main, ["bench", *flags]) == 1
    assert one_line(capsys).startswith("the first event was accepted, and did not arrive within 0.1 s: do --url and ")


async def test_no_answer_to_the_first_event(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A publishing address that never answers is given up."""
    monkeypatch.setattr(run, "POST_WITHIN", 0.1)
    async with answering(HEAD, stays=True) as streams, answering(stays=True) as other:
        flags = ["--url", streams.base, "--publish-url", other.base]
        assert await asyncio.to_thread(main, ["bench", *flags]) == 2
    assert one_line(capsys) == f"{other.base} did not answer the first event within 0.1 s"


def test_help_warns_of_broadcasts(capsys: pytest.CaptureFixture[str]) -> None:
    """Its help says whom each kind of event reaches."""
    with pytest.raises(SystemExit) as caught:
        main(["bench", "--help"])
    assert caught.value.code == 0
    assert "to EVERYONE who is connected, real users too" in capsys.readouterr().out


# --- progress


def test_progress() -> None:
    """How far a run is, in connections and then in events."""
    url = "http://127.0.0.1:8080"
    made = Run(Plan(Address(url), (Subscriber("a"),), Target.USERS, 50, 10, "r"), HttpTransport(url), url)
    assert bench._progress(made) == (0, 1, "trying the way: 0 of 1 connections")
    made.phase, made.done, made.total = "publishing", 250, 500
    assert bench._progress(made) == (250, 500, "publishing: 250 of 500 events, 0 deliveries")
