"""The pages: every link leads somewhere, every page is found from the first one, Python in them is Python."""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path

import pytest
from servers import ROOT

PAGES = [
    *(path for path in ROOT.glob("*.md")),
    *(path for folder in ("docs", "bench", "deploy", "gateway") for path in (ROOT / folder).rglob("*.md")),
]
INDEX = ROOT / "docs" / "README.md"
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def links(page: Path) -> list[str]:
    return _LINK.findall(_CODE.sub("", page.read_text()))


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", _CODE.sub("", page.read_text()), re.MULTILINE)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    """To a file that there is, and in it to a heading that there is."""
    broken = []
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


def test_every_page_is_in_the_index() -> None:
    """So that nothing is written for nobody."""
    linked = {(INDEX.parent / link.partition("#")[0]).resolve() for link in links(INDEX)}
    pages = {page for page in (ROOT / "docs").rglob("*.md") if page != INDEX}
    assert sorted(name(page) for page in pages - linked) == []
    assert "docs/README.md" in links(ROOT / "README.md")


@pytest.mark.parametrize("page", [page for page in PAGES if _PYTHON.search(page.read_text())], ids=name)
def test_python_in_pages_is_python(page: Path) -> None:
    """It compiles, and what it imports of this package is there."""
    for code in _PYTHON.findall(page.read_text()):
        tree = ast.parse(textwrap.dedent(code), filename=name(page))
        compile(tree, name(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gateway"):
                module = __import__(str(node.module), fromlist=["_"])
                for alias in node.names:
                    assert hasattr(module, alias.name), f"{node.module} has no {alias.name}"
