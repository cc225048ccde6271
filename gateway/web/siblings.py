"""Workers that share a port ask each other, so that readiness and metrics are those of all, whoever is asked.

Each answers for itself alone on a Unix socket that only this deployment's user can reach.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import aiohttp
from aiohttp import web
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families

from .context import GATEWAY, Gateway, Place

ANSWERS_WITHIN = 1.0


async def answers(place: Place, path: str) -> dict[int, tuple[int, str] | None]:
    """Status and body of each other worker's own answer; None where there is none in time."""
    asked = [_answer(place.socket_of(number), path) for number in place.others]
    return dict(zip(place.others, await asyncio.gather(*asked), strict=True))


async def _answer(path_of_socket: str, path: str) -> tuple[int, str] | None:
    timeout = aiohttp.ClientTimeout(total=ANSWERS_WITHIN)
    try:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(path_of_socket), timeout=timeout) as session,
            session.get(f"http://worker{path}") as response,
        ):
            return response.status, await response.text()
    except (aiohttp.ClientError, OSError, TimeoutError):
        return None


def merged(texts: Mapping[int, str | None]) -> list[Metric]:
    """The series of all workers, each with a `worker` label, and whether each gave an answer."""
    families: dict[str, Metric] = {}
    up = GaugeMetricFamily("gateway_worker_up", "1 when the worker answered", labels=["worker"])
    for number, text in sorted(texts.items()):
        up.add_metric([str(number)], int(text is not None))
        for family in text_string_to_metric_families(text or ""):
            same = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            for sample in family.samples:
                same.add_sample(sample.name, {"worker": str(number), **sample.labels}, sample.value)
    return [up, *families.values()]


def application(gateway: Gateway, routes: list[web.RouteDef]) -> web.Application:
    """What a worker serves to the others."""
    app = web.Application()
    app[GATEWAY] = gateway
    app.add_routes(routes)
    return app
