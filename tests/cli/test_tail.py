"""`gateway tail` against servers that answer what they were told to: what it prints, where, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from cli.terminals import Terminal
from client.subscriber.scripted import RETRY, Answer, event, page, position, refusal, scripted, stream
from servers import HOST, free_port

from gateway.cli import main

GAP = 'event: gateway.gap\ndata: {"requested":"1-0","oldest":"5-0"}\n\n'


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GATEWAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TZ", "UTC")


async def tail(*argv: str) -> int:
    return await asyncio.to_thread(main, ["tail", *argv])


async def tailed(*argv: str, answers: tuple[Answer, ...], status: int = 0) -> list[str]:
    """Of a user of a development gateway; what the server was asked for."""
    async with scripted(*answers) as server:
        assert await tail("--url", server.url, "--user", "42", *argv) == status
    return [request.raw_path for request in server.requests]


def said(capsys: pytest.CaptureFixture[str]) -> tuple[list[str], list[str]]:
    """Lines of stdout and stderr; the server's port, which is any, is left out."""
    out, err = capsys.readouterr()
    return out.splitlines(), [re.sub(rf"http://{HOST}:\d+", "URL", line) for line in err.splitlines()]


async def test_events_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """When it was published, its id, its type and its data, as it is; what happens is told beside them."""
    late = 'id: 1764000000123-4\nevent: order.paid\ndata: {"order":7}\n\n'
    await tailed("--count", "2", answers=(stream(position(1), late, "data: raw\n\n", ends=False),))
    lines, told = said(capsys)
    assert lines[0][8:] == '.123 1764000000123-4 order.paid {"order":7}'
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} - message raw", lines[1])
    assert told == ["gateway: connected to URL"]


async def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    """An object a line, gaps too; data that is no JSON is a string."""
    answers = (stream(position(1), GAP, event(5), "data: {raw\n\n", ends=False),)
    await tailed("--json", "--count", "3", answers=answers)
    lines, told = said(capsys)
    assert [json.loads(line) for line in lines] == [
        {"id": None, "type": "gateway.gap", "data": {"requested": "1-0", "oldest": "5-0"}},
        {"id": "5-0", "type": "x", "data": 5},
        {"id": None, "type": "message", "data": "{raw"},
    ]
    assert told[1].startswith("gateway: gap: ")


async def test_it_comes_back_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """From the last event; a gap is told on stderr, and is no line of the output."""
    await tailed("--count", "3", answers=(stream(position(1), event(2)), stream(GAP, event(5), event(6), ends=False)))
    lines, told = said(capsys)
    assert [line.split(" ", 1)[1] for line in lines] == ["2-0 x 2", "5-0 x 5", "6-0 x 6"]
    assert told[:1] + told[2:] == [
        "gateway: connected to URL",
        "gateway: connected to URL",
        "gateway: gap: events after 1-0 may be lost; kept is what follows 5-0",
    ]
    assert re.fullmatch(r"gateway: the gateway ended the stream; again in 0\.0 s", told[1])


async def test_what_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """Topics, types and a place to begin."""
    async with scripted(stream(position(1), event(2), ends=False)) as server:
        flags = ["--topic", "a", "--topic", "b", "--types", "order.*,x", "--from", "earliest", "--count", "1"]
        assert await tail("--url", server.url, "--token", "abc", *flags) == 0
    [request] = server.requests
    assert request.raw_path == "/v1/events?topic=a&topic=b&types=order.*,x"
    assert (server.tokens, server.cursors) == (["abc"], ["earliest"])


async def test_a_user_whose_token_can_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the gateway's secret, a token is shown and not the name."""
    monkeypatch.setenv("GATEWAY_JWT_SECRET", "s" * 32)
    async with scripted(stream(position(1), event(2), ends=False)) as server:
        assert await tail("--url", server.url, "--user", "42", "--count", "1") == 0
    assert server.requests[0].raw_path == "/v1/events"
    assert server.tokens[0].count(".") == 2


async def test_colours_at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The type stands out, and what an event holds does nothing to the terminal."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    out = Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    await tailed("--count", "1", answers=(stream(position(1), "data: \x1b[2J\n\n", ends=False),))
    assert "\x1b[1mmessage\x1b[0m \\x1b[2J\n" in out.getvalue()


@pytest.mark.parametrize(
    ("answers", "what"),
    [
        ((refusal(401, "because"),), "URL: 401 because; give --token, or set the gateway's GATEWAY_JWT_SECRET here"),
        ((refusal(403, "because"),), "URL: 403 because; take a token with these topics (`gateway token --topics`), or"),
        ((refusal(400, "because"),), "URL: 400 because"),
        ((page(404),), "URL: 404 text/html, and no event stream: is it the gateway's address?"),
        ((refusal(503, "full"),), "URL: 503: full"),
        ((stream(RETRY),), "URL: the gateway ended the stream"),
        ((refusal(204),), "URL: the gateway keeps this user away (204)"),
        ((stream(position(1)), refusal(401, "because")), "URL: 401 because"),
    ],
)
async def test_no_stream(answers: tuple[Answer, ...], what: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What the gateway says, and what to do, in the last line; status 1."""
    await tailed(answers=answers, status=1)
    lines, told = said(capsys)
    assert lines == []
    assert told[-1].startswith(f"gateway: {what}")


def test_nobody_there(capsys: pytest.CaptureFixture[str]) -> None:
    """When nothing listens, the line says how to start a gateway."""
    url = f"http://{HOST}:{free_port()}"
    assert main(["tail", "--url", url, "--user", "42"]) == 1
    assert capsys.readouterr().err == (
        f"gateway: {url}: cannot connect (Connection refused); start a gateway there with `gateway serve --dev`, "
        "or give another --url\n"
    )


@pytest.mark.parametrize(
    ("flags", "what"),
    [
        ([], "who are you? Give --user 42 "),
        (["--user", "a b"], "user_id: must be 1 to 128"),
        (["--user", "42", "--url", "redis://h"], "--url: expected the gateway's address"),
        (["--user", "42", "--topic", "a b"], "--topic: must be 1 to 128"),
        (["--user", "42", "--from", "é"], "--from: must be an event's id, or 'earliest'"),
        (["--token", "hunter2 hunter2"], "--token: must be printable ASCII"),
    ],
)
def test_it_cannot_be_right(flags: list[str], what: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Named before anything is opened; status 2."""
    assert main(["tail", *flags]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"gateway: {what}")
    assert "hunter2" not in err


def test_a_count_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    """Refused with what is expected."""
    with pytest.raises(SystemExit):
        main(["tail", "--user", "42", "--count", "0"])
    assert "'0': expected a whole number, 1 or more" in capsys.readouterr().err


async def test_a_token_file_that_is_gone_at_first(tmp_path: Path, capsys: pytest.CaptureFixture[Any]) -> None:
    """It is told as what it is."""
    async with scripted(page()) as server:
        assert await tail("--url", server.url, "--token-file", str(tmp_path / "token")) == 2
    assert "cannot be read: No such file or directory" in capsys.readouterr().err
