"""What a catalogue makes of an event: nothing, or a refusal with the path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.catalogue import Catalogue, load
from gateway.errors import InvalidEvent
from gateway.events import SSEEvent

EVENTS = str(Path(__file__).parent / "events.yaml")


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load(EVENTS)


INVOICE = {"id": "a-1", "lines": [{"text": "x", "cents": 1}]}


@pytest.mark.parametrize(
    ("event_type", "data"),
    [
        ("sync.accounts.completed", {"account_count": 3}),
        ("sync.accounts.completed", {"account_count": 3.0, "provider": {"id": "x", "name": "y"}}),
        ("sync.accounts.failed", {"reason": "timeout", "retry-after": None, "more": 1}),
        ("invoice.paid", INVOICE),
        ("ping", None),
        ("ping", [1]),
    ],
)
def test_what_is_right_passes(catalogue: Catalogue, event_type: str, data: Any) -> None:
    catalogue.check(SSEEvent(event_type, data=data))


@pytest.mark.parametrize(
    ("event_type", "data", "field"),
    [
        ("sync.accounts.completed", {}, "data"),
        ("sync.accounts.completed", None, "data"),
        ("sync.accounts.completed", {"account_count": -1}, "data.account_count"),
        ("sync.accounts.completed", {"account_count": True}, "data.account_count"),
        ("sync.accounts.completed", {"account_count": 1, "x": 2}, "data"),
        ("sync.accounts.completed", {"account_count": 1, "provider": {"id": 1}}, "data.provider"),
        ("sync.accounts.failed", {"reason": "x"}, "data.reason"),
        ("sync.accounts.failed", {"reason": "timeout", "retry-after": "x"}, "data.retry-after"),
        ("invoice.paid", INVOICE | {"id": "A"}, "data.id"),
        ("invoice.paid", INVOICE | {"lines": [*INVOICE["lines"], {"text": 1, "cents": 1}]}, "data.lines[1].text"),
    ],
)
def test_what_is_wrong_has_its_path(catalogue: Catalogue, event_type: str, data: Any, field: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        catalogue.check(SSEEvent(event_type, data=data))
    assert (caught.value.field or "").startswith(field)


def test_the_data_is_not_quoted(catalogue: Catalogue) -> None:
    """A refusal ends up in logs: it says what was expected."""
    with pytest.raises(InvalidEvent) as caught:
        catalogue.check(SSEEvent("sync.accounts.failed", data={"reason": "a secret"}))
    assert "secret" not in str(caught.value)
    assert "timeout" in caught.value.detail


def test_an_unknown_type_is_refused_with_the_nearest(catalogue: Catalogue) -> None:
    with pytest.raises(InvalidEvent) as caught:
        catalogue.check(SSEEvent("sync.accounts.complete", data={}), type_field="type")
    assert caught.value.field == "type"
    assert "did you mean sync.accounts.completed?" in caught.value.detail


def test_unknown_types_may_pass(tmp_path: Path) -> None:
    file = tmp_path / "events.yaml"
    file.write_text("catalogue: 1\nunknown_types: pass\nevents: {a: {data: {type: object}}}\n")
    catalogue = load(str(file))
    catalogue.check(SSEEvent("b", data=1))
    with pytest.raises(InvalidEvent):
        catalogue.check(SSEEvent("a", data=1))


def test_paths_and_texts_are_bounded(tmp_path: Path) -> None:
    """Whatever the data is called, and however deep it is."""
    file = tmp_path / "events.yaml"
    file.write_text(
        "catalogue: 1\nevents: {a: {data: {$ref: '#/$defs/T'}}}\n"
        "$defs: {T: {additionalProperties: {$ref: '#/$defs/T'}, not: {type: integer}}}"
    )
    catalogue = load(str(file))
    deep: Any = 1
    for _ in range(500):
        deep = {"a": deep}
    for data in (deep, {"x" * 5000: 1}, {'é"\n': 1}):
        with pytest.raises(InvalidEvent) as caught:
            catalogue.check(SSEEvent("a", data=data))
        assert len(str(caught.value)) < 1000
        assert (caught.value.field or "").isascii() or "…" in (caught.value.field or "")
    assert caught.value.field == 'data["\\u00e9\\"\\n"]'
