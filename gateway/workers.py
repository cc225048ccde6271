"""`GATEWAY_WORKERS`: several processes that share the port, each with a socket of its own (SO_REUSEPORT).

The kernel spreads new connections evenly over them. Each is a whole gateway, with its own link to the broker. The
parent serves nobody: it passes signals on and starts a worker again that died. Own code and no process manager,
because those that are kept (gunicorn) let all workers accept from one socket, which spreads lasting connections
unevenly, and log in a form of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
import socket
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace

import structlog

from . import signals
from .config import ConfigError, Settings
from .web.context import Place

RESTART_AFTER = (0.2, 5.0)
"""Seconds before a worker that died is started again: at first, and at most when it dies again and again."""
LIVED = 60.0
"""Seconds after which a worker's death is a new matter."""
ENDED = (0, -signal.SIGTERM, -signal.SIGINT)
"""Statuses of a worker that did as it was told; the negative ones before it could drain anything."""

Work = Callable[[Settings, Place], None]
"""What a worker does, in a process of its own. A function of a module: processes are started afresh, not forked."""

log = structlog.get_logger(__name__)

_spawning = multiprocessing.get_context("spawn")


def supervise(settings: Settings, work: Work) -> int:
    """Run the workers until a signal ends them; the exit status. Raises `ConfigError` when the port is taken."""
    with contextlib.ExitStack() as held, tempfile.TemporaryDirectory(prefix="gateway-") as directory:
        # These never listen: they keep the ports, and find one where 0 was asked for.
        public = held.enter_context(bound(settings, settings.port))
        if settings.internal_port is not None:
            held.enter_context(bound(settings, settings.internal_port))
        settings = replace(settings, port=public.getsockname()[1])
        return asyncio.run(_Supervisor(settings, work, directory).run())


def bound(settings: Settings, port: int) -> socket.socket:
    """A socket with the port, not listening yet. Raises `ConfigError` when it cannot be had."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    sock = socket.socket(family)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if settings.workers > 1:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((settings.host, port))
    except OSError as error:
        sock.close()
        name = "GATEWAY_INTERNAL_PORT" if port == settings.internal_port else "GATEWAY_PORT"
        problem = f"GATEWAY_HOST, {name}: {settings.host}:{port}: {error.strerror or error}"
        raise ConfigError([problem]) from None
    return sock


class _Supervisor:
    def __init__(self, settings: Settings, work: Work, directory: str) -> None:
        self._settings = settings
        self._work = work
        self._directory = directory
        self._workers: dict[int, multiprocessing.process.BaseProcess] = {}
        self._stopping = False

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        signals.on_hangup(self._settings, self._read_keys_again)
        log.info("workers.starting", count=self._settings.workers, port=self._settings.port)
        statuses = await asyncio.gather(*(self._keep(number) for number in range(self._settings.workers)))
        log.info("workers.ended", statuses=statuses)
        return int(any(status not in ENDED for status in statuses))

    async def _keep(self, number: int) -> int:
        """Have worker `number` run until the end is wanted; its last exit status."""
        first, most = RESTART_AFTER
        pause = first
        while True:
            started = time.monotonic()
            place = Place(number, self._settings.workers, self._directory)
            worker = _spawning.Process(target=self._work, args=(self._settings, place), name=f"worker-{number}")
            worker.start()
            self._workers[number] = worker
            status = await _end_of(worker)
            if self._stopping:
                return status
            pause = first if time.monotonic() - started > LIVED else pause
            log.error("worker.died", worker=number, status=status, restart_after=pause)
            await asyncio.sleep(pause)
            if self._stopping:
                return status
            pause = min(pause * 2, most)

    def _stop(self, number: signal.Signals) -> None:
        self._stopping = True
        self._pass_on(number)

    def _read_keys_again(self) -> None:
        """Here too, for workers that are started later."""
        self._settings = signals.read_again(self._settings) or self._settings
        self._pass_on(signal.SIGHUP)

    def _pass_on(self, number: signal.Signals) -> None:
        for worker in self._workers.values():
            if worker.pid is not None and worker.exitcode is None:
                os.kill(worker.pid, number)


async def _end_of(worker: multiprocessing.process.BaseProcess) -> int:
    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    loop.add_reader(worker.sentinel, ended.set_result, None)
    await ended
    loop.remove_reader(worker.sentinel)
    worker.join()
    assert worker.exitcode is not None
    return worker.exitcode
