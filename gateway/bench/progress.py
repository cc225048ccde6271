"""How far a run is, on stderr: a bar where it is a terminal, else a line every few seconds."""

from __future__ import annotations

import asyncio
from typing import TextIO

from .run import TRYING, Run

BAR = 30
REDRAWN_EVERY = 0.1
LINE_EVERY = 5.0


async def show(run: Run, out: TextIO) -> None:
    """Until cancelled; a bar is removed then."""
    if not out.isatty():
        while True:
            await asyncio.sleep(LINE_EVERY)
            if run.phase != TRYING:  # what ends a run before it began is said in one line
                print(_sentence(run), file=out, flush=True)
    try:
        while True:
            print(f"\r{bar(run.done, run.total)} {_sentence(run)}\x1b[K", end="", file=out, flush=True)
            await asyncio.sleep(REDRAWN_EVERY)
    finally:
        print("\r\x1b[K", end="", file=out, flush=True)


def bar(done: int, total: int) -> str:
    filled = BAR * done // max(total, 1)
    return f"[{'#' * filled}{' ' * (BAR - filled)}]"


def _sentence(run: Run) -> str:
    if run.phase in (TRYING, "connecting"):
        return f"{run.phase}: {run.done:,} of {run.total:,} connections"
    return f"{run.phase}: {run.done:,} of {run.total:,} events, {run.ledger.delivered:,} deliveries"
