"""What a process does on a signal: SIGTERM and SIGINT end it, SIGHUP has it read the publish keys' file again."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from .config import ConfigError, Settings, with_publish_keys_read_again

log = structlog.get_logger(__name__)


def ending() -> asyncio.Queue[signal.Signals]:
    """Yields each SIGTERM and SIGINT."""
    queue: asyncio.Queue[signal.Signals] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, queue.put_nowait, number)
    if (parent := multiprocessing.parent_process()) is not None:
        loop.add_reader(parent.sentinel, _orphaned, loop, parent.sentinel, queue)
    return queue


def _orphaned(loop: asyncio.AbstractEventLoop, sentinel: int, queue: asyncio.Queue[signal.Signals]) -> None:
    """A worker whose parent is gone drains: nobody would tell it to."""
    loop.remove_reader(sentinel)
    log.error("worker.orphaned")
    queue.put_nowait(signal.SIGTERM)


async def until_second(work: Coroutine[Any, Any, None], signals: asyncio.Queue[signal.Signals]) -> None:
    """Until the work is done, or another signal says not to wait for it."""
    tasks: list[asyncio.Task[Any]] = [asyncio.create_task(work), asyncio.create_task(signals.get())]
    _, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*pending)


def on_hangup(settings: Settings, act: Callable[[], None]) -> None:
    """In development mode SIGHUP ends the process, as it does any whose terminal is closed."""
    if not settings.dev:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, act)


def read_again(settings: Settings) -> Settings | None:
    """The settings with the keys that their file holds now; None, and a log line, when the old ones stay."""
    if settings.publish_keys_path is None:
        log.warning(
            "publish_keys.kept", problem="GATEWAY_PUBLISH_KEYS_FILE is not set, so there is nothing to read again"
        )
        return None
    try:
        read = with_publish_keys_read_again(settings)
    except ConfigError as error:
        log.error("publish_keys.kept", problem=str(error), names=_names(settings))
        return None
    log.info("publish_keys.read", names=_names(read))
    return read


def _names(settings: Settings) -> list[str]:
    return [key.name for key in settings.publish_keys]
