"""Health and metrics, over HTTP: of this process, and of the other workers on its port. What they say is decided in
`readiness.py`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from ..errors import InvalidRequest
from . import siblings
from .context import GATEWAY, Gateway
from .readiness import NAMES, must_restart, standing

OUTSIDE = web.AppKey("outside", bool)
"""Set where strangers ask, and operators have a port of their own: reasons are told by name, without hosts."""

_NAME = re.compile(r"((?:worker \d+: )?[a-z]+): .*", re.DOTALL)


def routes() -> list[web.RouteDef]:
    return [web.get("/livez", livez), web.get("/readyz", readyz)]


def operators_routes() -> list[web.RouteDef]:
    return [web.get("/metrics", metrics)]


def routes_alone() -> list[web.RouteDef]:
    """What a worker tells the others: of itself only."""
    return [web.get("/livez", livez_alone), web.get("/readyz", readyz_alone), web.get("/metrics", metrics_alone)]


async def livez(request: web.Request) -> web.Response:
    """The event loop runs, or nobody would answer; a worker's that does not is the others' readiness."""
    gateway = request.app[GATEWAY]
    reasons = must_restart(gateway)
    if gateway.place is not None:
        reasons = _named(gateway.place.number, reasons)
        for number, answer in (await siblings.answers(gateway.place, "/livez")).items():
            reasons += _named(number, _told(answer, "reasons"))
    return _health({"reasons": reasons}, "failed")


async def livez_alone(request: web.Request) -> web.Response:
    return _health({"reasons": must_restart(request.app[GATEWAY])}, "failed")


async def readyz(request: web.Request) -> web.Response:
    """Whether new streams should come here: to this process, and to every other worker on its port.

    `?exclude=` leaves out reasons, for a prober that knows better.
    """
    gateway = request.app[GATEWAY]
    told = _standing(gateway, _excluded(request))
    if gateway.place is not None:
        told = {key: _named(gateway.place.number, texts) for key, texts in told.items()}
        for number, answer in (await siblings.answers(gateway.place, request.path_qs)).items():
            told["reasons"] += _named(number, ["does not answer"] if answer is None else _told(answer, "reasons"))
            told["overloaded"] += _named(number, _told(answer, "overloaded"))
    if OUTSIDE in request.app:
        return _health({key: [_NAME.sub(r"\1", text) for text in texts] for key, texts in told.items()}, "unavailable")
    warnings = gateway.relays.warnings()  # of what all workers share: one tells them for all
    return _health(told | {"warnings": warnings}, "unavailable")


async def readyz_alone(request: web.Request) -> web.Response:
    return _health(_standing(request.app[GATEWAY], _excluded(request)), "unavailable")


def _excluded(request: web.Request) -> set[str]:
    names = {name for given in request.query.getall("exclude", []) for name in given.split(",") if name}
    if unknown := names.difference(NAMES):
        known = ", ".join(NAMES)
        raise InvalidRequest(f"{min(unknown)!r} is no reason; known are {known}", field="exclude")
    return names


def _standing(gateway: Gateway, excluded: set[str]) -> dict[str, list[str]]:
    reasons, despite = standing(gateway, excluded)
    return {"reasons": [reason.text for reason in reasons], "overloaded": [reason.text for reason in despite]}


def _named(worker: int, texts: list[str]) -> list[str]:
    return [f"worker {worker}: {text}" for text in texts]


def _told(answer: tuple[int, str] | None, key: str) -> list[str]:
    """What another worker said, where it said something."""
    return [] if answer is None else json.loads(answer[1]).get(key, [])


def _health(told: dict[str, list[str]], bad: str) -> web.Response:
    """Not well while there are reasons; lists that are empty are left out."""
    said = {key: texts for key, texts in told.items() if texts}
    if told["reasons"]:
        return web.json_response({"status": bad, **said}, status=503)
    return web.json_response({"status": "ok", **said})


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
