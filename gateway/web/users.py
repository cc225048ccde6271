"""What publishers may ask about a user, over all processes: is there somebody, and: send them away."""

from __future__ import annotations

import re

import structlog
from aiohttp import web

from .. import channels
from ..errors import InvalidRequest
from ..telemetry.logging import user_hash
from . import request_ids
from .auth import publisher_of
from .context import GATEWAY

_SECONDS = re.compile(r"\d{1,12}", re.ASCII)

log = structlog.get_logger(__name__)


def routes() -> list[web.RouteDef]:
    return [
        web.get("/v1/users/{user_id}/presence", presence, allow_head=False),
        web.delete("/v1/users/{user_id}/connections", send_away),
    ]


async def presence(request: web.Request) -> web.Response:
    """How many streams the user has."""
    user_id, _ = await _about(request)
    count = await request.app[GATEWAY].registry.connections(user_id)
    answer = {"online": count > 0, "connections": count}
    return web.json_response(answer, headers={"Cache-Control": "no-store"})


async def send_away(request: web.Request) -> web.Response:
    """End the user's streams; with `for`, and keep the user away for so many seconds."""
    user_id, publisher = await _about(request)
    gateway = request.app[GATEWAY]
    seconds = _seconds(request, gateway.settings.max_away_seconds)
    count = await gateway.registry.send_away(user_id, seconds)
    gateway.metrics.sent_away.inc()
    log.info(
        "user.sent_away",
        user=user_hash(user_id),
        key=publisher,
        seconds=seconds,
        connections=count,
        request_id=request_ids.of(request),
    )
    return web.json_response({"connections": count}, status=202)


async def _about(request: web.Request) -> tuple[str, str]:
    """The user in the path, and the name of the publisher who may publish to that user."""
    publisher = await publisher_of(request)
    user_id = channels.user_id(request.match_info["user_id"])
    publisher.require(channels.user(user_id))
    return user_id, publisher.name


def _seconds(request: web.Request, most: int) -> float | None:
    for name in request.query:
        if name != "for":  # misspelt, the user would be back at once
            raise InvalidRequest("is not known here; the one parameter is 'for'", field=name[:64])
    given = request.query.getall("for", [])
    if not given:
        return None
    if len(given) > 1 or _SECONDS.fullmatch(given[0]) is None or int(given[0]) > most:
        raise InvalidRequest(f"must be whole seconds, from 0 to {most} (GATEWAY_MAX_AWAY_SECONDS)", field="for")
    return float(given[0])
