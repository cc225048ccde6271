"""The JavaScript client as it is served and packaged, and what it does in Node."""

from __future__ import annotations

import base64
import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest
from npm import bin_of, need_node, ran
from servers import ROOT
from test_event_stream import CASES, Case
from web.inprocess import Served, served

from gateway import __version__

HERE = Path(__file__).parent
PACKAGE = ROOT / "gateway" / "web" / "client"
MODULE = PACKAGE / "client.js"
MOST_BYTES = 3840
"""Of the client, minified and compressed: 3.75 KiB."""


async def test_it_is_served_as_a_module(gateway: Served) -> None:
    """The very file, as JavaScript, which nobody guesses to be something else."""
    async with gateway.http.get("/client.js", headers={"Accept-Encoding": "identity"}) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/javascript; charset=utf-8"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "Content-Encoding" not in response.headers
        assert await response.read() == MODULE.read_bytes()


async def test_it_is_compressed_for_who_takes_that(gateway: Served) -> None:
    """Browsers do; caches are told that there are two forms."""
    async with gateway.http.get("/client.js", headers={"Accept-Encoding": "gzip, br"}) as response:
        assert response.headers["Content-Encoding"] == "gzip"
        assert "Accept-Encoding" in response.headers.getall("Vary")
        assert int(response.headers["Content-Length"]) < 8_000
        assert await response.read() == MODULE.read_bytes()


async def test_a_browser_keeps_it_and_asks_again(gateway: Served) -> None:
    """For five minutes it is not asked for, and then not sent again while it is the same."""
    async with gateway.http.get("/client.js") as response:
        assert response.headers["Cache-Control"] == "public, max-age=300"
        tag = response.headers["ETag"]
    for known, status in ((tag, 304), (f'"other", {tag}', 304), ("*", 304), ('"other"', 200)):
        async with gateway.http.get("/client.js", headers={"If-None-Match": known}) as response:
            assert response.status == status
            assert response.headers["ETag"] == tag
            assert response.headers["Cache-Control"] == "public, max-age=300"
            assert bool(await response.read()) == (status == 200)


async def test_pages_of_other_origins_may_import_it() -> None:
    """Those that may read streams."""
    async with served(cors_origins=("https://app.example.com",)) as gateway:
        for origin, granted in (("https://app.example.com", "https://app.example.com"), ("https://evil.example", None)):
            async with gateway.http.get("/client.js", headers={"Origin": origin}) as response:
                assert response.headers.get("Access-Control-Allow-Origin") == granted
                assert set(response.headers.getall("Vary")) == {"Accept-Encoding", "Origin"}


def outcome(case: Case) -> dict[str, Any]:
    """As the client tells it. It knows nothing of comments and of what is ignored."""
    last = case.last_event_id or (case.events[-1].last_event_id if case.events else "")
    events = [[event.type, event.data, event.id] for event in case.events]
    return {"events": events, "retry": case.retry, "id": last}


async def test_its_parser_reads_as_the_standard_says() -> None:
    """Every stream of the table: in one piece, byte by byte, and cut at random, empty pieces included."""
    need_node()
    cut = random.Random(1)
    streams: list[list[bytes]] = []
    for case in CASES:
        whole = case.stream
        bounds = sorted(cut.randint(0, len(whole)) for _ in range(3))
        pieces = [whole[a:b] for a, b in zip([0, *bounds], [*bounds, len(whole)], strict=True)]
        streams += [[whole], [whole[i : i + 1] for i in range(len(whole))], pieces]
    given = json.dumps([[base64.b64encode(piece).decode() for piece in stream] for stream in streams])
    outcomes = json.loads(await ran("node", str(HERE / "client" / "read.mjs"), given=given.encode()))
    assert len(outcomes) == 3 * len(CASES)
    for number, case in enumerate(CASES):
        for got, way in zip(outcomes[3 * number :], ("whole", "byte by byte", "cut"), strict=False):
            assert got == outcome(case), f"{case.name}, {way}"


@pytest.mark.parametrize("suite", ["connect", "credentials"])
async def test_one_connection_in_node(suite: str) -> None:
    """`node --test`: each test there is a sentence of its own."""
    need_node()
    await ran("node", "--test-reporter=tap", str(HERE / "client" / f"{suite}.test.mjs"))


async def test_it_is_small() -> None:
    """What a page loads of it, bundled, minified and compressed."""
    need_node()
    minified = await ran(*bin_of("terser"), str(MODULE), "--module", "--compress", "--mangle")
    size = len(gzip.compress(minified, 9))
    assert 1_000 < size < MOST_BYTES, f"{size} bytes"


async def test_its_types_say_what_it_takes(tmp_path: Path) -> None:
    """TypeScript, by the package's own name: what is right compiles, and what is wrong does not."""
    need_node()
    modules = tmp_path / "node_modules"
    modules.mkdir()
    (modules / "event-gateway-client").symlink_to(PACKAGE)
    (tmp_path / "typed.ts").write_text((HERE / "client" / "typed.ts").read_text())
    options = ("--noEmit", "--strict", "--target", "es2022", "--module", "nodenext", "--skipDefaultLibCheck")
    await ran(*bin_of("typescript", "tsc"), *options, "typed.ts", cwd=tmp_path)


async def test_the_package_has_what_it_names() -> None:
    """What npm would publish, under the gateway's own version."""
    need_node()
    [packed] = json.loads(await ran("npm", "pack", "--dry-run", "--json", cwd=PACKAGE))
    assert {file["path"] for file in packed["files"]} == {"README.md", "client.d.ts", "client.js", "package.json"}
    assert packed["version"] == __version__
