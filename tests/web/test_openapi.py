"""The document and the gateway say the same: valid OpenAPI, the routes there are, and every answer as it says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator as Validator
from openapi_spec_validator import validate
from schemathesis import CheckFunction, GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection
from web.inprocess import SECRET, Served, claims, served, token

from gateway.config import PublishKey

EXAMPLES = 40
KEY = "the-publish-key-of-these-tests"
EVENT = {"event_type": "x", "user_id": "alice", "data": None}

OPERATIONS = [
    *(
        (name, mode)
        for name in ("livez", "metrics", "openapi", "asyncapi", "docs", "javaScriptClient", "issueTicket")
        for mode in [GenerationMode.POSITIVE]
    ),
    *(
        (name, mode)
        for name in (
            "readyz",
            "stream",
            "publish",
            "publishToUser",
            "broadcast",
            "publishToTopic",
            "presence",
            "sendAway",
        )
        for mode in GenerationMode
    ),
]

schemathesis.openapi.media_type(
    "application/x-ndjson",
    st.lists(st.just(json.dumps(EVENT)), min_size=1, max_size=3).map(lambda lines: "\n".join(lines).encode()),
)


@asynccontextmanager
async def short_streams() -> AsyncIterator[Served]:
    """As in production, with streams that end by themselves: a client that reads to the end gets there."""
    keys = (PublishKey("all", KEY),)
    async with served(jwt_secret=SECRET, publish_keys=keys, max_connection_age=0.02) as gateway:
        yield gateway


async def document(gateway: Served) -> dict[str, Any]:
    async with gateway.http.get("/openapi.json") as response:
        assert response.status == 200
        assert response.content_type == "application/json"
        body: dict[str, Any] = await response.json()
        return body


async def test_the_document_is_valid(gateway: Served) -> None:
    """It is OpenAPI 3.1."""
    spec = await document(gateway)
    assert spec["openapi"].startswith("3.1.")
    validate(spec)


async def test_the_document_has_the_routes(gateway: Served) -> None:
    """A path and method that is served is described, and the other way round."""
    described = {
        (method.upper(), path)
        for path, item in (await document(gateway))["paths"].items()
        for method in item.keys() - {"parameters"}
    }
    routes = {
        (route.method, route.resource.canonical) for route in gateway.app.router.routes() if route.resource is not None
    }
    console = {(method, path) for method, path in routes if path.startswith("/console")}  # its pages' own
    assert described == {(method, path) for method, path in routes - console if method not in ("HEAD", "OPTIONS")}


@pytest.mark.parametrize(("operation_id", "mode"), OPERATIONS)
async def test_answers_conform(operation_id: str, mode: GenerationMode) -> None:
    """Whatever is sent, valid or not: no 500, and status, headers and body are as described."""
    async with short_streams() as gateway:
        schema = schemathesis.openapi.from_dict(await document(gateway))
        operation = schema.find_operation_by_id(operation_id)
        of_subscribers = "subscribe" in operation.definition.raw["tags"]
        credential = token(claims(topics=["*"], seconds=600)) if of_subscribers else KEY
        headers = {"Authorization": f"Bearer {credential}"}
        # Not refused are parameters that nobody knows, an empty `types=`, and outside of development `user=`.
        takes_parameters = operation_id in ("stream", "sendAway")
        lenient: list[CheckFunction] = [negative_data_rejection] if takes_parameters else []

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.generate],
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def conforms(case: schemathesis.Case[Any]) -> None:
            if operation_id == "stream":
                case.query.pop("wait", None)  # good for a long poll alone, and no schema can say so
            case.call_and_validate(base_url=gateway.url, headers=headers, timeout=10, excluded_checks=lenient)

        await asyncio.to_thread(conforms)


async def test_polls_are_answered_as_described(gateway: Served) -> None:
    """With events of both forms, with a gap, and with nothing."""
    spec = await document(gateway)
    described = Validator({"$ref": "#/components/schemas/Polled", "components": spec["components"]})
    await gateway.publish("alice", "x", {"a": 1}, retry=5)
    for query in ("wait=0", "wait=0&last_event_id=earliest", "last_event_id=x", "last_event_id=x&format=cloudevents"):
        url = f"/v1/events?user=alice&{query}"
        async with gateway.http.get(url, headers={"Accept": "application/json"}) as response:
            assert response.status == 200
            described.validate(await response.json())
    assert not described.is_valid({"events": [{"id": None, "data": 1}], "cursor": None})
