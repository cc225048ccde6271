"""`GET /asyncapi.json` is AsyncAPI 3, by the initiative's own schema, and says what the catalogue says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from npm import PACKAGES, need_node
from web.inprocess import Served, served

from gateway.catalogue import load
from gateway.web.asyncapi import document

EVENTS = str(Path(__file__).parent.parent / "catalogue" / "events.yaml")


@pytest.fixture(scope="module")
def official() -> Draft7Validator:
    need_node()
    return Draft7Validator(json.loads((PACKAGES / "@asyncapi/specs/schemas/3.0.0.json").read_text()))


def referred(value: Any) -> set[str]:
    """Every reference in a document."""
    if isinstance(value, dict):
        return {value["$ref"]} if isinstance(value.get("$ref"), str) else set().union(*map(referred, value.values()))
    return set().union(*map(referred, value)) if isinstance(value, list) else set()


def at(root: Any, reference: str) -> Any:
    for step in reference.removeprefix("#/").split("/"):
        root = root[step]
    return root


@pytest.mark.parametrize("catalogue", [None, EVENTS])
def test_it_is_valid(official: Draft7Validator, catalogue: str | None) -> None:
    """With and without a catalogue; and every reference leads somewhere."""
    found = document(None if catalogue is None else load(catalogue))
    official.validate(found)
    assert all(at(found, reference) is not None for reference in referred(found))
    assert not official.is_valid(found | {"channels": {"x": {"adress": "/"}}})


async def test_without_a_catalogue_any_event_is_carried(gateway: Served) -> None:
    """Beside the gateway's own, which only streams carry."""
    async with gateway.http.get("/asyncapi.json") as response:
        assert (response.status, response.content_type) == (200, "application/json")
        found = await response.json()
    messages = found["components"]["messages"]
    names = {"gateway.gap", "gateway.expiring", "gateway.reconnect"}
    assert {message.get("name") for message in messages.values()} == names | {None}
    assert list(found["channels"]["broadcast"]["messages"]) == ["anyEvent"]
    assert len(found["channels"]["stream"]["messages"]) == 4


async def test_the_catalogues_types_are_messages() -> None:
    """By name, with description, category and payload; those that may not be published are not there."""
    async with served(event_catalogue=EVENTS) as gateway, gateway.http.get("/asyncapi.json") as response:
        found = await response.json()
    message = at(found, found["channels"]["user"]["messages"]["SyncAccountsCompleted"]["$ref"])
    assert message["name"] == "sync.accounts.completed"
    assert message["summary"] == "All accounts of a provider were read."
    assert message["tags"] == [{"name": "sync"}]
    assert message["payload"]["properties"]["provider"] == {"$ref": "#/components/schemas/Provider"}
    assert found["components"]["schemas"]["Provider"]["required"] == ["id", "name"]
    assert found["info"]["tags"][0]["name"] == "sync"
    assert "anyEvent" not in found["channels"]["user"]["messages"]


def test_unknown_types_that_pass_are_told(tmp_path: Path, official: Draft7Validator) -> None:
    file = tmp_path / "events.yaml"
    file.write_text(
        "catalogue: 1\nunknown_types: pass\nevents: {a: {data: true}, b: {data: false}}\n$defs: {X: true}\n"
    )
    found = document(load(str(file)))
    official.validate(found)
    assert list(found["channels"]["user"]["messages"]) == ["A", "B", "anyEvent"]
