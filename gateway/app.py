"""Puts a process together, runs it, and takes it down again in the right order."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import resource
import signal
from collections.abc import AsyncIterator, Coroutine, Iterable
from functools import partial
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http_parser import HttpRequestParser, HttpRequestParserPy

from . import adapters, channels, fair, signals
from .auth import configured
from .auth.jwks import Jwks
from .auth.publish_keys import PublishKeys
from .auth.verifier import Verifier
from .catalogue import load as load_catalogue
from .config import ConfigError, PublishKey, Settings
from .healing import HELD_BYTES
from .hub import CloseReason, Hub
from .hub.heartbeat import beat
from .relay import Relay
from .relays import Relays
from .telemetry import lag
from .telemetry import logging as gateway_logging
from .telemetry.metrics import Metrics
from .web import carrier, jwks_endpoint, malformed, refusal, sites
from .web.console import Board
from .web.context import GATEWAY, Gateway, Place
from .web.overload import Overload
from .web.readiness import Readiness
from .workers import bound, supervise

GC_THRESHOLDS = (10_000, 5, 50)
"""Collections of what lives as long as a connection find nothing: by CPython's defaults (700, 10, 10) a third of
what a newcomer costs goes there. The second must stay small: 20 x 20,000 objects are a stop of 0.2 s."""
log = structlog.get_logger(__name__)


def build(settings: Settings, place: Place | None = None) -> web.Application:
    """The application of one process, at its place among the workers if there are some."""
    _refuse_slow_parser()
    relays = _relays(settings)
    metrics = Metrics(relays)
    registry = adapters.registry(settings)
    metrics.registry_up.set_function(lambda: registry.health() is None)
    publish_keys, verifier = PublishKeys(settings.publish_keys), _verifier(settings, metrics)
    overload = Overload(lambda: relays.count, settings)
    console_keys = _console_keys(settings)
    gateway = Gateway(settings, relays, registry, metrics, overload, publish_keys, console_keys, verifier, place=place)
    if settings.event_catalogue is not None:
        gateway.catalogue = load_catalogue(settings.event_catalogue)
    metrics.registry.register(Readiness(gateway))
    if gateway.has_console:
        gateway.board = Board(gateway, adapters.fleet(settings))
    app, internal = sites.applications(gateway)
    app.cleanup_ctx.append(_running)
    if internal is not None:
        app.cleanup_ctx.append(sites.opened(internal, partial(bound, settings)))
    if place is not None:
        app.cleanup_ctx.append(sites.telling_the_others)
    app.on_shutdown.append(carrier.end_all)
    return app


def _relays(settings: Settings) -> Relays:
    """A hub and a relay for each of the broker's partitions; what is bounded for the process is divided among them."""
    brokers = adapters.brokers(settings)
    relays = []
    for broker in brokers.each:
        hub = Hub(
            max_buffer=settings.max_buffer_bytes,
            join_window=settings.join_window_ms / 1000,
            tail_bytes=settings.tail_bytes // len(brokers.each),
            now_ms=broker.now_ms,
        )
        relay = Relay(
            hub,
            broker,
            linger=settings.linger_seconds,
            replay_page=settings.replay_page,
            send_timeout=settings.send_timeout,
            held_bytes=HELD_BYTES // len(brokers.each),
        )
        relays.append(relay)
    return Relays(relays, brokers.spread)


def run(settings: Settings, warnings: Iterable[str] = ()) -> int:
    """Serve until SIGTERM, then drain; SIGINT (Ctrl-C), and a second SIGTERM, end it at once. The exit status."""
    gateway_logging.configure(json=settings.log_format == "json", level=settings.log_level)
    for warning in warnings:
        log.warning("config.warning", detail=warning)
    if not settings.dev:
        settings.require_authentication()
    _take_descriptors()
    if settings.workers > 1:
        build(settings)  # what is wrong with the settings is said once, and here
        return supervise(settings, serve)
    serve(settings)
    return 0


def serve(settings: Settings, place: Place | None = None) -> None:
    """One process, with an event loop of its own."""
    if place is not None:
        gateway_logging.configure(json=settings.log_format == "json", level=settings.log_level, worker=place.number)
    app = build(settings, place)
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    with asyncio.Runner(loop_factory=fair.new_event_loop) as runner:
        runner.run(_serve(app, settings))


def _console_keys(settings: Settings) -> PublishKeys:
    """Whoever may look at everything may do everything: the console's key publishes, too."""
    key = settings.console_key
    return PublishKeys([] if key is None else [PublishKey("console", key)])


def _verifier(settings: Settings, metrics: Metrics) -> Verifier | None:
    return configured.verifier(
        settings, jwks_endpoint.fetch, lambda outcome: metrics.jwks_fetches.labels(outcome).inc()
    )


async def _serve(app: web.Application, settings: Settings) -> None:
    malformed.instead_of_tracebacks(app[GATEWAY].metrics)
    with bound(settings, settings.port) as listener:
        async with sites.serving(app, listener):
            _tell(app[GATEWAY], listener.getsockname()[1])
            stopping = signals.ending()
            signals.on_hangup(settings, lambda: _read_keys_again(app[GATEWAY]))
            seconds = settings.drain_seconds if await stopping.get() == signal.SIGTERM else 0
            log.info("gateway.draining", seconds=seconds, connections=app[GATEWAY].relays.count)
            await signals.until_second(drain(app[GATEWAY], seconds), stopping)
    log.info("gateway.stopped")


def _tell(gateway: Gateway, port: int) -> None:
    """Where it listens."""
    settings, place = gateway.settings, gateway.place
    scheme, internal_port = settings.broker_url.partition(":")[0], settings.internal_port
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    where = {"host": settings.host, "port": port, "internal_port": internal_port}
    log.info("gateway.listening", **where, broker=scheme, descriptors=descriptors)
    if settings.dev and (place is None or place.number == 0):
        public, internal = (f"http://{settings.host}:{number}" for number in (port, internal_port or port))
        print(_WELCOME.format(public=public, internal=internal, broker=scheme), flush=True)


async def drain(gateway: Gateway, seconds: float) -> None:
    """Fail readiness at once; close the streams evenly over `seconds`, in random order."""
    gateway.draining = True
    connections = gateway.relays.streams()
    random.shuffle(connections)
    loop = asyncio.get_running_loop()
    started = loop.time()
    for number, connection in enumerate(connections):
        await asyncio.sleep(started + seconds * number / len(connections) - loop.time())
        retry = refusal.jittered(gateway.settings.retry_ms)
        connection.say("gateway.reconnect", {"retry": retry}, retry)
        connection.close(CloseReason.DRAINING)


async def _running(app: web.Application) -> AsyncIterator[None]:
    """The background of a process: broker link and heartbeat."""
    gateway = app[GATEWAY]
    await gateway.relays.start()
    await gateway.registry.start(lambda user_id: _send_away(gateway.relays, user_id), gateway.overload.now)
    interval = gateway.settings.heartbeat_interval
    tasks = [_owned(gateway, "heartbeat", beat(relay.hub, interval)) for relay in gateway.relays]
    tasks.append(_owned(gateway, "lag", lag.measure(gateway.metrics.loop_lag, gateway.overload.lagging)))
    if gateway.verifier is not None and isinstance(gateway.verifier.keys, Jwks):
        tasks.append(_owned(gateway, "jwks", gateway.verifier.keys.run()))
    if gateway.board is not None:
        tasks.append(_owned(gateway, "console", gateway.board.run()))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if gateway.board is not None:
            await gateway.board.close()
        await gateway.registry.close()
        await gateway.relays.close()


def _send_away(relays: Relays, user_id: str | None) -> None:
    relays.end(None if user_id is None else channels.user(user_id), CloseReason.REVOKED)


def _read_keys_again(gateway: Gateway) -> None:
    read = signals.read_again(gateway.settings)
    gateway.metrics.publish_keys_read.labels("kept" if read is None else "read").inc()
    if read is not None:
        gateway.publish_keys.replace(read.publish_keys)


def _owned(gateway: Gateway, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """A background task whose death shows: in the log, and as a process that is not ready."""

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            gateway.failed.append(f"{name} has ended")
            log.error("task.died", task=name, error=repr(task.exception()))

    task = asyncio.create_task(work, name=name)
    task.add_done_callback(ended)
    return task


def _take_descriptors() -> None:
    """As many as this process may have, since each stream takes one: what it begins with is often 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard or hard == resource.RLIM_INFINITY:
        with contextlib.suppress(OSError, ValueError):  # some systems allow less than they say
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _refuse_slow_parser() -> None:
    """Without its C parser aiohttp reads requests by other rules than proxies do: what smuggling needs."""
    if HttpRequestParser is HttpRequestParserPy:
        raise ConfigError(
            [
                "aiohttp's C parser is not in use, and its Python one is open to request smuggling: unset "
                "AIOHTTP_NO_EXTENSIONS, and install aiohttp from a wheel, or where there is a C compiler"
            ]
        )


_WELCOME = """
  event-gateway is up (development mode: {broker} broker, no tokens). Try it, each in a terminal of its own:

    curl -N '{public}/v1/events?user=alice'
    curl -H 'Content-Type: application/json' {internal}/v1/users/alice/events \\
         -d '{{"event_type": "greeting", "data": {{"text": "hello"}}}}'

  And to see what it does, in a browser: {internal}/console      Ctrl-C ends it.
"""
