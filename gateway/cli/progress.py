"""How far long work is, on stderr: a bar that is drawn over where it is a terminal, else a line every few seconds."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple, TextIO

BAR = 30
REDRAWN_EVERY = 0.1
LINE_EVERY = 5.0
ERASE = "\r\x1b[K"


class Progress(NamedTuple):
    done: float
    total: float
    sentence: str


@asynccontextmanager
async def shown(look: Callable[[], Progress], out: TextIO) -> AsyncIterator[None]:
    """While the body runs; a bar is removed in the end."""
    showing = asyncio.create_task(_show(look, out))
    try:
        yield
    finally:
        showing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await showing


def bar(done: float, total: float) -> str:
    filled = int(BAR * min(done / total, 1)) if total else 0
    return f"[{'#' * filled}{' ' * (BAR - filled)}]"


async def _show(look: Callable[[], Progress], out: TextIO) -> None:
    if not out.isatty():
        while True:
            await asyncio.sleep(LINE_EVERY)
            if (now := look()).done:  # what ends work before it has begun is said in one line
                print(now.sentence, file=out, flush=True)
    try:
        while True:
            now = look()
            print(f"\r{bar(now.done, now.total)} {now.sentence}\x1b[K", end="", file=out, flush=True)
            await asyncio.sleep(REDRAWN_EVERY)
    finally:
        print(ERASE, end="", file=out, flush=True)
