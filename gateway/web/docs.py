"""`GET /docs`: the two documents for people, as one page of plain HTML, made here.

Rule: no script and nothing from elsewhere, so the page works wherever the gateway does, and its policy allows its own
style and nothing else. Everything that is shown was escaped.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from html import escape
from importlib import resources
from typing import Any

from aiohttp import web

from ..catalogue import Catalogue
from . import asyncapi
from .context import GATEWAY
from .openapi import DOCUMENT

_STYLE = (resources.files(__package__) / "docs.css").read_text()
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

SHORT = 80
"""Characters of a schema that is shown on one line."""

_METHODS = ("get", "post", "put", "patch", "delete")
_EVENT = {"event_type": "greeting", "data": {"text": "hello"}}


def routes() -> list[web.RouteDef]:
    return [web.get("/docs", docs)]


async def docs(request: web.Request) -> web.Response:
    catalogue = request.app[GATEWAY].catalogue
    return web.Response(
        text=_page_of_any() if catalogue is None else page(catalogue),
        content_type="text/html",
        headers={"Content-Security-Policy": POLICY},
    )


@cache
def _page_of_any() -> str:
    return page(None)


def page(catalogue: Catalogue | None) -> str:
    """The whole page."""
    http, streams = json.loads(DOCUMENT), asyncapi.document(catalogue)
    carried = streams["channels"]["stream"]["messages"]
    known = streams["components"]["messages"]
    messages = [known[name] for name in sorted(carried, key=lambda name: name.startswith("gateway"))]
    schemas = http["components"]["schemas"]
    definitions = streams["components"]["schemas"]
    tags = [tag["name"] for tag in http["tags"]]
    by_tag = {tag: [op for op in _operations(http) if tag in op["tags"]] for tag in tags}
    contents = [*by_tag.items()]
    return "".join(
        [
            '<!doctype html><html lang="en"><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(http['info']['title'])}</title><style>{_STYLE}</style>",
            '<div class="page"><nav>',
            *(_list(tag, [(op["operationId"], f"{op['method']} {op['path']}") for op in ops]) for tag, ops in contents),
            _list("events", [(f"event-{_title(message)}", _title(message)) for message in messages]),
            _list("schemas", [(f"schema-{name}", name) for name in schemas]),
            f"</nav><main><h1>{escape(http['info']['title'])}</h1>{_text(http['info']['description'])}",
            '<p>For machines: <a href="openapi.json">OpenAPI 3.1</a>, <a href="asyncapi.json">AsyncAPI 3.0</a>.',
            *(f"<h2>{escape(tag)}</h2>{''.join(_operation(op, http) for op in ops)}" for tag, ops in contents),
            "<h2>events</h2>",
            *map(_message, messages),
            *(_schema(name, schema, "definition") for name, schema in definitions.items()),
            "<h2>schemas</h2>",
            *(_schema(name, schema, "schema") for name, schema in schemas.items()),
            "</main></div></html>",
        ]
    )


def _operations(http: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Each with its method, its path, and the parameters of the path."""
    for path, item in http["paths"].items():
        for method in _METHODS:
            if method in item:
                parameters = [*item.get("parameters", []), *item[method].get("parameters", [])]
                yield item[method] | {"method": method.upper(), "path": path, "parameters": parameters}


def _operation(op: Mapping[str, Any], http: Mapping[str, Any]) -> str:
    parameters = [_resolved(parameter, http) for parameter in op["parameters"]]
    body = _resolved(op.get("requestBody", {}), http)
    responses = {status: _resolved(response, http) for status, response in op["responses"].items()}
    return "".join(
        [
            f'<article id="{escape(op["operationId"])}"><h3><span class="method">{op["method"]}</span> ',
            f"<code>{escape(op['path'])}</code></h3><p>{_marked(op['summary'])}.{_text(op.get('description', ''))}",
            f"<pre>{escape(_curl(op))}</pre>",
            _table("Parameters", [(f"{p['name']} ({p['in']})", _parameter(p)) for p in parameters]),
            _table("Body", [(kind, _link(media)) for kind, media in body.get("content", {}).items()]),
            _table("Answers", [(status, _answer(response)) for status, response in responses.items()]),
            "</article>",
        ]
    )


def _curl(op: Mapping[str, Any]) -> str:
    """A line to try it with; `$GATEWAY` is the gateway's address, the others a token and a key."""
    words = ["curl", "-N"] if op["operationId"] == "stream" else ["curl"]
    if op["method"] not in ("GET", "POST") or (op["method"] == "POST" and "requestBody" not in op):
        words += ["-X", op["method"]]
    if security := op.get("security"):
        credential = "$KEY" if "publishKey" in security[0] else "$TOKEN"
        words += [f'-H "Authorization: Bearer {credential}"']
    path = op["path"].replace("{user_id}", "42").replace("{topic}", "orders.eu")
    words += [f'"$GATEWAY{path}"']
    if "requestBody" in op:
        event = _EVENT | ({"user_id": "42"} if op["path"] == "/v1/events" else {})
        words += ["-H 'Content-Type: application/json'", f"-d '{json.dumps(event)}'"]
    return " ".join(words)


def _message(message: Mapping[str, Any]) -> str:
    tags = "".join(f' <span class="tag">{escape(tag["name"])}</span>' for tag in message.get("tags", ()))
    title = escape(_title(message))
    return (
        f'<article id="event-{title}"><h3><code>{title}</code>{tags}</h3>'
        f"{_text(message.get('summary', ''))}{_json(message['payload'], 'definition')}</article>"
    )


def _title(message: Mapping[str, Any]) -> str:
    return str(message.get("name") or message["title"])


def _schema(name: str, schema: Any, prefix: str) -> str:
    shown = escape(name)
    return f'<article id="{prefix}-{shown}"><h3><code>{shown}</code></h3>{_json(schema, prefix)}</article>'


def _parameter(parameter: Mapping[str, Any]) -> str:
    needed = "Required. " if parameter.get("required") else ""
    return needed + _marked(parameter.get("description", "")) + _json(parameter["schema"], "schema")


def _answer(response: Mapping[str, Any]) -> str:
    kinds = [f"<br><code>{escape(kind)}</code> {_link(media)}" for kind, media in response.get("content", {}).items()]
    return _marked(response["description"]) + "".join(kinds)


def _link(media: Mapping[str, Any]) -> str:
    """What a media type holds: a link to its schema, or the schema."""
    if "schema" not in media:
        return f"<pre>{escape(str(media.get('example', '')))}</pre>"
    return _json(media["schema"], "schema")


def _json(schema: Any, prefix: str) -> str:
    """As text, with references that lead to where it is shown."""
    if isinstance(schema, dict) and schema.keys() == {"$ref"}:
        return f"<p>{_reference(schema['$ref'], prefix)}"
    short = json.dumps(schema, ensure_ascii=False)
    text = short if len(short) <= SHORT else json.dumps(schema, indent=2, ensure_ascii=False)
    linked = re.sub(r'"\$ref": "([^"]+)"', lambda found: _reference(found[1], prefix), escape(text, quote=False))
    return f"<p><code>{linked}</code>" if text is short else f"<pre>{linked}</pre>"


def _reference(ref: str, prefix: str) -> str:
    name = escape(ref.rpartition("/")[2])
    return f'<a href="#{prefix}-{name}">{name}</a>'


def _resolved(thing: Mapping[str, Any], http: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in thing:
        return thing
    found: Any = http
    for step in thing["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    resolved: Mapping[str, Any] = found
    return resolved


def _table(title: str, rows: Iterable[tuple[str, str]]) -> str:
    """The second column is HTML."""
    shown = "".join(f"<tr><th><code>{escape(name)}</code><td>{value}" for name, value in rows)
    return f"<h4>{title}</h4><table>{shown}</table>" if shown else ""


def _list(title: str, links: Iterable[tuple[str, str]]) -> str:
    items = "".join(f'<li><a href="#{escape(target)}">{escape(text)}</a>' for target, text in links)
    return f"<strong>{escape(title)}</strong><ul>{items}</ul>"


def _text(words: str) -> str:
    return f"<p>{_marked(words)}" if words else ""


def _marked(words: str) -> str:
    """What stands between backticks as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(words, quote=False))
