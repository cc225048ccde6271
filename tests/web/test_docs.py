"""`GET /docs`: a page that needs nothing, allows nothing, and shows everything."""

from __future__ import annotations

import base64
import hashlib
import json
from html.parser import HTMLParser
from pathlib import Path

from web.inprocess import Served, served

from gateway.catalogue import load
from gateway.web.docs import page

EVENTS = str(Path(__file__).parent.parent / "catalogue" / "events.yaml")
HOSTILE = """
catalogue: 1
title: <script>alert(1)</script>
events:
  a:
    description: "`<img src=x onerror=alert(1)>` \\"&amp; </pre><script>"
    data: {description: "</pre><script>alert(1)</script>", properties: {"<b>": {$ref: "#/$defs/X"}}}
$defs:
  X: {enum: ["<script>", "\\"$ref\\": \\"#/$defs/<script>\\""]}
"""


class Page(HTMLParser):
    """The tags, ids and links of a page, its style, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.attributes: set[str] = set()
        self.text: dict[str, str] = {}
        self._in = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in = tag
        self.tags.add(tag)
        for name, value in attrs:
            self.attributes.add(name)
            if name == "id":
                self.ids.append(value or "")
            elif name == "href":
                self.links.append(value or "")

    def handle_data(self, data: str) -> None:
        self.text[self._in] = self.text.get(self._in, "") + data


async def test_its_policy_allows_its_style_and_nothing_else(gateway: Served) -> None:
    """The style is named by its hash; there is no script, and nothing to load."""
    async with gateway.http.get("/docs") as response:
        assert (response.status, response.content_type) == (200, "text/html")
        policy, seen = response.headers["Content-Security-Policy"], Page(await response.text())
    digest = base64.b64encode(hashlib.sha256(seen.text["style"].encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")
    assert not {"script", "img", "link", "iframe"} & seen.tags
    assert not {"style", "src", "onclick"} & seen.attributes


async def test_it_shows_every_operation_and_schema(gateway: Served) -> None:
    """Of the document that is served; and every link on the page leads somewhere."""
    async with gateway.http.get("/openapi.json") as response:
        spec = await response.json()
    async with gateway.http.get("/docs") as response:
        seen = Page(await response.text())
    operations = {op["operationId"] for item in spec["paths"].values() for op in item.values() if "operationId" in op}
    schemas = {f"schema-{name}" for name in spec["components"]["schemas"]}
    assert operations | schemas | {"event-gateway.gap"} <= set(seen.ids)
    assert len(seen.ids) == len(set(seen.ids))
    inside = [link for link in seen.links if link.startswith("#")]
    assert {link.removeprefix("#") for link in inside} <= set(seen.ids)
    for link in set(seen.links) - set(inside):
        async with gateway.http.get(f"/{link}") as response:
            assert response.status == 200


async def test_it_shows_the_catalogue() -> None:
    """Its event types before the gateway's own, with categories, and its definitions."""
    async with served(event_catalogue=EVENTS) as gateway, gateway.http.get("/docs") as response:
        seen = Page(await response.text())
    events = [id for id in seen.ids if id.startswith("event-")]
    assert events[0] == "event-sync.accounts.completed"
    assert events[-1] == "event-gateway.reconnect"
    assert "definition-Provider" in seen.ids
    assert "#definition-Provider" in seen.links
    assert "sync" in seen.text["span"]


def test_what_a_catalogue_says_is_text(tmp_path: Path) -> None:
    """Whoever wrote it: no tag, attribute or link comes of it."""
    file = tmp_path / "events.yaml"
    file.write_text(HOSTILE)
    plain, hostile = Page(page(None)), Page(page(load(str(file))))
    assert hostile.tags == plain.tags
    assert hostile.attributes == plain.attributes
    assert all(link.startswith(("#", "openapi", "asyncapi")) for link in hostile.links)
    assert "<img src=x onerror=alert(1)>" in hostile.text["code"]
    assert json.dumps("<b>") in "".join(hostile.text.values())
