"""The console's files: small, whole, of this server alone, and there only where they shall be."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from importlib import resources

import pytest
import pytest_asyncio
from web.inprocess import SECRET, Served, served

from gateway.config import PublishKey

KEY = "the-key-of-the-console"
AT_MOST = 100_000

FILES = {file.name: file.read_text() for file in (resources.files("gateway") / "web" / "console" / "static").iterdir()}


@pytest_asyncio.fixture
async def gateway() -> AsyncIterator[Served]:
    async with served() as running:
        yield running


@pytest.mark.parametrize("name", [None, *FILES])
async def test_each_file_is_served_with_a_policy(gateway: Served, name: str | None) -> None:
    """As what it is; a browser asks whether it is still the same, and is told so without its body."""
    path = "/console" if name is None else f"/console/{name}"
    async with gateway.http.get(path) as response:
        assert response.status == 200
        assert await response.text() == FILES[name or "index.html"]
        policy = response.headers["Content-Security-Policy"]
        etag = response.headers["ETag"]
        assert response.headers["Cache-Control"] == "no-cache"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.content_type == {
            "html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"
        }[(name or "index.html").rpartition(".")[2]]  # fmt: skip
    assert "default-src 'none'" in policy and "script-src 'self';" in policy and "unsafe" not in policy
    async with gateway.http.get(path, headers={"If-None-Match": etag}) as response:
        assert (response.status, await response.read()) == (304, b"")


async def test_nothing_else_is_a_file(gateway: Served) -> None:
    """However it is written."""
    for path in ("/console/nothing.js", "/console/..%2froutes.py", "/console/__init__.py", "/console/"):
        async with gateway.http.get(path) as response:
            assert response.status == 404, path


async def test_all_of_it_is_below_100_kb(gateway: Served) -> None:
    """With the client that it is driven by."""
    async with gateway.http.get("/client.js") as response:
        client = await response.read()
    assert sum(len(text.encode()) for text in FILES.values()) + len(client) < AT_MOST


def test_nothing_is_loaded_from_elsewhere() -> None:
    """Nor is there code or style in the page, or text that becomes markup."""
    for name, text in FILES.items():
        addresses = re.findall(r"https?://[^\s\"'`)]+", text)
        assert not [address for address in addresses if not address.startswith("http://www.w3.org/")], name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text), (
            name
        )
    page = FILES["index.html"]
    assert not re.search(r"\son\w+=|\sstyle=|<style|javascript:", page)
    assert re.findall(r"<script[^>]*>([^<]*)</script>", page) == [""]


async def test_without_a_key_there_is_no_console_in_production() -> None:
    """As if there never was one."""
    settings = {"jwt_secret": SECRET, "publish_keys": (PublishKey("all", "a-publish-key"),)}
    async with served(**settings) as gateway:
        for path in ("/console", "/console/main.js", "/console/api/fleet"):
            async with gateway.http.get(path) as response:
                assert response.status == 404, path
    async with served(**settings, console_key=KEY) as gateway, gateway.http.get("/console") as response:
        assert response.status == 200
