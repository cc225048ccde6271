"""How far long work is, for people who wait for it."""

from __future__ import annotations

import io

import pytest
from cli.terminals import Terminal
from servers import until

from gateway.cli import progress
from gateway.cli.progress import Progress, bar, shown


async def seen(out: io.StringIO, now: Progress) -> str:
    async with shown(lambda: now, out):
        await until(lambda: now.sentence in out.getvalue())
    return out.getvalue()


async def test_a_bar_at_a_terminal() -> None:
    """At a terminal a bar is drawn in place, and removed in the end."""
    told = await seen(Terminal(), Progress(250, 500, "half of it"))
    assert told.startswith(f"\r[{'#' * 15}{' ' * 15}] half of it\x1b[K")
    assert told.endswith("\r\x1b[K")
    assert "\n" not in told


async def test_lines_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere there is a plain line now and then."""
    monkeypatch.setattr(progress, "LINE_EVERY", 0.01)
    lines = (await seen(io.StringIO(), Progress(250, 500, "half of it"))).splitlines()
    assert set(lines) == {"half of it"}


async def test_nothing_is_said_of_what_has_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere than at a terminal, what ends it then is said in one line."""
    monkeypatch.setattr(progress, "LINE_EVERY", 0.001)
    out, looks = io.StringIO(), 0

    def look() -> Progress:
        nonlocal looks
        looks += 1
        return Progress(0, 5, "trying")

    async with shown(look, out):
        await until(lambda: looks > 3)
    assert out.getvalue() == ""


@pytest.mark.parametrize(("done", "total", "filled"), [(0, 10, 0), (5, 10, 15), (10, 10, 30), (99, 10, 30), (0, 0, 0)])
def test_bar(done: float, total: float, filled: int) -> None:
    """Never longer than it is, and of nothing it is empty."""
    assert bar(done, total) == f"[{'#' * filled}{' ' * (30 - filled)}]"
