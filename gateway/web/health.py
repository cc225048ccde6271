"""Health and metrics. `/livez` fails only for a process that must be restarted; `/readyz` says why it fails."""

from __future__ import annotations

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from .context import GATEWAY, Gateway


def routes() -> list[web.RouteDef]:
    return [web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", metrics)]


async def livez(request: web.Request) -> web.Response:
    """The event loop runs, or nobody would answer. A broker that is away is no reason to restart."""
    return web.json_response({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    """Whether new streams should come to this process."""
    reasons = not_ready_because(request.app[GATEWAY])
    if reasons:
        return web.json_response({"status": "unavailable", "reasons": reasons}, status=503)
    return web.json_response({"status": "ok"})


def not_ready_because(gateway: Gateway) -> list[str]:
    reasons = list(gateway.failed)
    if gateway.draining:
        reasons.append("draining")
    if (broker := gateway.relay.health()) is not None:
        reasons.append(f"broker: {broker}")
    return reasons


async def metrics(request: web.Request) -> web.Response:
    body = request.app[GATEWAY].metrics.render()
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})
