"""What a refusal says, whoever read it."""

from __future__ import annotations

import json

import pytest

from gateway.client.answers import MAX_TEXT, Problem, problem, retry_after

KIND = "application/problem+json"


def test_a_problem_document() -> None:
    """Title, detail and field; `why` is the most that it says, in one line."""
    body = json.dumps({"title": "Not valid", "detail": "is\nmissing", "field": "data", "status": 400}).encode()
    said = problem(f"{KIND}; charset=utf-8", body)
    assert said == Problem("Not valid", "is missing", "data")
    assert said.why == "data: is missing"
    assert Problem("Not valid").why == "Not valid"
    assert Problem().why == ""


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b'{"detail":null}', b"[" * 50_000])
def test_a_broken_one(body: bytes) -> None:
    """It says nothing."""
    assert problem(KIND, body) == Problem()


@pytest.mark.parametrize("kind", [None, "", "text/html", "application/json"])
def test_what_is_none(kind: str | None) -> None:
    """A body of another type is not the gateway's, and may hold anything."""
    assert problem(kind, b'{"detail": "secret"}') == Problem()


def test_a_long_one() -> None:
    """It is cut."""
    assert len(problem(KIND, json.dumps({"detail": "x" * 10_000}).encode()).detail) == MAX_TEXT


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7), ("0", 0), (None, None), ("", None), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("-1", None), ("²", None)],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    """Whole seconds; a date or nonsense is passed over."""
    assert retry_after(header) == seconds
