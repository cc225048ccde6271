"""`GET /asyncapi.json`: what streams carry, for machines; with the event types of the catalogue, if there is one."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from aiohttp import web

from ..catalogue import Catalogue, EventType
from ..catalogue.model import Schema
from ..catalogue.shapes import identifiers
from .context import GATEWAY

PUBLISHED = ("stream", "user", "broadcast", "topic")
"""The channels that carry what publishers send."""

_BASE = (resources.files(__package__) / "asyncapi.json").read_text()
_DEFINITION, _SCHEMA = "#/$defs/", "#/components/schemas/"


def routes() -> list[web.RouteDef]:
    return [web.get("/asyncapi.json", asyncapi)]


async def asyncapi(request: web.Request) -> web.Response:
    return web.json_response(document(request.app[GATEWAY].catalogue))


def document(catalogue: Catalogue | None) -> dict[str, Any]:
    """AsyncAPI 3.0."""
    found: dict[str, Any] = json.loads(_BASE)
    messages, carried = found["components"]["messages"], ["anyEvent"]
    if catalogue is not None:
        found["info"] |= {"title": catalogue.title, "tags": _tags(catalogue)}
        found["components"]["schemas"] = {name: _schema(schema) for name, schema in catalogue.definitions.items()}
        names = identifiers(list(catalogue.types), "Pascal", set(messages))
        messages |= {names[known.name]: _message(known) for known in catalogue.types.values()}
        carried = [*names.values(), *(carried if catalogue.unknown_types_pass else ())]
    for channel in PUBLISHED:
        found["channels"][channel]["messages"] |= {name: {"$ref": f"#/components/messages/{name}"} for name in carried}
    return found


def _tags(catalogue: Catalogue) -> list[dict[str, str]]:
    return [{"name": name, "description": text} for name, text in catalogue.categories.items()]


def _message(known: EventType) -> dict[str, Any]:
    message: dict[str, Any] = {"name": known.name, "title": known.name}
    if known.description:
        message["summary"] = known.description
    if known.category is not None:
        message["tags"] = [{"name": known.category}]
    message["payload"] = _schema(True if known.schema is None else known.schema)
    return message


def _schema(schema: Schema) -> Any:
    """With `true` and `false`, which the document may have within schemas only, written out."""
    return _moved(schema) if isinstance(schema, dict) else {} if schema else {"not": {}}


def _moved(schema: Any) -> Any:
    """A schema whose references lead to where the document has the definitions."""
    if isinstance(schema, dict):
        return {
            name: value.replace(_DEFINITION, _SCHEMA) if name == "$ref" and isinstance(value, str) else _moved(value)
            for name, value in schema.items()
        }
    return [_moved(item) for item in schema] if isinstance(schema, list) else schema
