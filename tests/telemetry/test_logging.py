"""Logs: one event name and key=value pairs, as JSON or for people, and nobody's name in them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from gateway.telemetry.logging import configure, user_hash


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Logging is the process's: put it back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return [json.loads(line) for line in captured.err.splitlines()]


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A line has the event's name, its level, a UTC time and its pairs; a line end in a value makes no second line."""
    configure(json=True)
    structlog.get_logger("x").warning("broker.link_lost", reason="two\nlines", attempt=3)
    [line] = lines(capsys)
    assert line.pop("timestamp", "").endswith("Z")  # type: ignore[attr-defined]
    assert line == {"event": "broker.link_lost", "level": "warning", "reason": "two\nlines", "attempt": 3}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("\ud800", "\ud800"),
        ("é\x9b", "é\x9b"),
        (10**30, 10**30),
        (ValueError("x"), "ValueError('x')"),
        ({1: 2}, {"1": 2}),
    ],
)
def test_any_value_is_a_line_of_ascii(capsys: pytest.CaptureFixture[str], value: object, shown: object) -> None:
    """Nothing that is logged breaks the line, is lost, or is written as what a terminal would act upon."""
    configure(json=True)
    structlog.get_logger("x").warning("test", value=value)
    written = capsys.readouterr().err
    assert written.isascii()
    assert json.loads(written)["value"] == shown


def test_libraries_come_out_the_same_way(capsys: pytest.CaptureFixture[str]) -> None:
    """What aiohttp or redis-py log through the standard library is such a line too."""
    configure(json=True)
    logging.getLogger("aiohttp.server").error("Error handling request from %s", "127.0.0.1")
    [line] = lines(capsys)
    assert line["event"] == "Error handling request from 127.0.0.1"
    assert line["level"] == "error"


def test_a_traceback_stays_in_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    """An exception is a member of the object, whoever logged it."""
    configure(json=True)
    try:
        raise ValueError("what went wrong")
    except ValueError:
        structlog.get_logger("x").exception("http.unexpected_error")
        logging.getLogger("library").exception("failed")
    ours, theirs = lines(capsys)
    assert "what went wrong" in str(ours["exception"])
    assert "what went wrong" in str(theirs["exception"])


@pytest.mark.parametrize(("level", "shown"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_the_level_is_the_least_that_is_logged(capsys: pytest.CaptureFixture[str], level: str, shown: int) -> None:
    """GATEWAY_LOG_LEVEL names the least that is shown."""
    configure(json=True, level=level)
    log = structlog.get_logger("x")
    for method in (log.debug, log.info, log.warning, log.error):
        method("something.happened")
    assert len(lines(capsys)) == shown


def test_chatty_libraries_are_kept_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    """Libraries are heard from warnings on, also when the gateway itself is debugged."""
    configure(json=True, level="debug")
    logging.getLogger("asyncio").info("Using selector: EpollSelector")
    logging.getLogger("asyncio").warning("slow callback")
    assert [line["event"] for line in lines(capsys)] == ["slow callback"]


def test_lines_for_people_are_plain_when_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    """On a terminal there are colours; in a file there are none."""
    configure(json=False)
    structlog.get_logger("x").info("gateway.listening", port=8080)
    text = capsys.readouterr().err
    assert "gateway.listening" in text
    assert "port=8080" in text
    assert "\x1b" not in text


def test_configuring_again_does_not_log_twice(capsys: pytest.CaptureFixture[str]) -> None:
    """A second configuration replaces the first."""
    configure(json=True)
    configure(json=True)
    logging.getLogger("library").error("once")
    structlog.get_logger("x").error("once")
    assert len(lines(capsys)) == 2


def test_a_user_is_a_hash() -> None:
    """The same user is the same twelve digits in every line and process, another user is not."""
    assert user_hash("alice") == "230550268730"
    assert user_hash("bob") != user_hash("alice")
    assert len(user_hash("é" * 128)) == 12
