"""Health and metrics. `/livez` fails only for a process that must be restarted; `/readyz` says why it fails."""

from __future__ import annotations

import json
from collections.abc import Iterable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from . import siblings
from .context import GATEWAY, Gateway


def routes() -> list[web.RouteDef]:
    return [web.get("/livez", livez), web.get("/readyz", readyz)]


def operators_routes() -> list[web.RouteDef]:
    return [web.get("/metrics", metrics)]


def routes_alone() -> list[web.RouteDef]:
    """What a worker tells the others: of itself only."""
    return [web.get("/readyz", readyz_alone), web.get("/metrics", metrics_alone)]


async def livez(request: web.Request) -> web.Response:
    """The event loop runs, or nobody would answer. A broker that is away is no reason to restart."""
    return web.json_response({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    """Whether new streams should come here: to this process, and to every other worker on its port."""
    gateway = request.app[GATEWAY]
    reasons = not_ready_because(gateway)
    if gateway.place is not None:
        reasons = [f"worker {gateway.place.number}: {reason}" for reason in reasons]
        for number, answer in (await siblings.answers(gateway.place, "/readyz")).items():
            theirs = ["does not answer"] if answer is None else json.loads(answer[1]).get("reasons", [])
            reasons += [f"worker {number}: {reason}" for reason in theirs]
    return _readiness(reasons, gateway.relay.broker.warnings())


async def readyz_alone(request: web.Request) -> web.Response:
    return _readiness(not_ready_because(request.app[GATEWAY]), [])


def _readiness(reasons: list[str], warnings: list[str]) -> web.Response:
    """Warnings are of what all workers share, so one tells them for all; they make nobody unready."""
    body: dict[str, object] = {"status": "unavailable", "reasons": reasons} if reasons else {"status": "ok"}
    return web.json_response(body | ({"warnings": warnings} if warnings else {}), status=503 if reasons else 200)


def not_ready_because(gateway: Gateway) -> list[str]:
    reasons = list(gateway.failed)
    if gateway.draining:
        reasons.append("draining")
    if (broker := gateway.relay.health()) is not None:
        reasons.append(f"broker: {broker}")
    if gateway.verifier is not None and (jwks := gateway.verifier.keys.health()) is not None:
        reasons.append(f"jwks: {jwks}")
    return reasons


async def metrics(request: web.Request) -> web.Response:
    gateway = request.app[GATEWAY]
    if gateway.place is None:
        return await metrics_alone(request)
    texts = {
        number: answer and answer[1] for number, answer in (await siblings.answers(gateway.place, "/metrics")).items()
    }
    texts[gateway.place.number] = gateway.metrics.render().decode()
    registry = CollectorRegistry()
    registry.register(_Merged(siblings.merged(texts)))
    return _exposition(generate_latest(registry))


async def metrics_alone(request: web.Request) -> web.Response:
    return _exposition(request.app[GATEWAY].metrics.render())


def _exposition(body: bytes) -> web.Response:
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})


class _Merged(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families
