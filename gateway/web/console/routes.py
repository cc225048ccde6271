"""What the console's pages ask of the gateway. Each answer, the pages' own files apart, wants the console's key."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

from aiohttp import web

from ... import channels
from ...config import SETTINGS, Settings, env_name, shown
from ...errors import InvalidEvent, InvalidRequest
from ...ids import START
from ..auth import operator_of
from ..context import GATEWAY
from . import pages, watching

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
ENTRIES_LOOKED_AT = 1000
WATCHED_SECONDS = 10.0


def routes() -> list[web.RouteDef]:
    api = "/console/api"
    return [
        *pages.routes(),
        web.get(f"{api}/fleet", fleet),
        web.get(f"{api}/events", watching.events, allow_head=False),
        web.post(f"{api}/watch", watch),
        web.get(f"{api}/channels/{{channel}}", channel),
        web.get(f"{api}/settings", settings),
    ]


async def fleet(request: web.Request) -> web.Response:
    """All processes, as they last reported."""
    operator_of(request)
    board = request.app[GATEWAY].board
    assert board is not None
    return web.Response(body=await board.fleet(), content_type="application/json")


async def watch(request: web.Request) -> web.Response:
    """Have the processes report a user's streams for some seconds; how many there are."""
    operator_of(request)
    gateway = request.app[GATEWAY]
    assert gateway.board is not None
    user_id = channels.user_id(request.query.get("user"))
    await gateway.board.watch(user_id, WATCHED_SECONDS)
    return web.json_response({"connections": await gateway.registry.connections(user_id)}, status=202)


async def channel(request: web.Request) -> web.Response:
    """What a channel's history holds; of a long one, its beginning counted, and its end."""
    operator_of(request)
    gateway = request.app[GATEWAY]
    name = _channel(request.match_info["channel"])
    broker = gateway.relays.of(name).broker
    answer = {
        "channel": name,
        "retention": broker.retention,
        "entries": 0,
        "more": False,
        "oldest": None,
        "newest": None,
    }
    if broker.retention:
        page = await broker.read([name], START, ENTRIES_LOOKED_AT)
        if page.entries:
            answer |= {
                "entries": len(page.entries),
                "more": page.upto != page.tip,
                "oldest": str(page.entries[0].id),
                "newest": str(page.entries[-1].id),
            }
    return web.json_response(answer)


async def settings(request: web.Request) -> web.Response:
    """Those in force here, as `gateway config` shows them."""
    operator_of(request)
    here, default = request.app[GATEWAY].settings, Settings()
    rows = [
        {
            "name": env_name(name),
            "value": shown(here, name),
            "default": shown(default, name),
            "changed": getattr(here, name) != getattr(default, name),
            "unit": setting.kind.unit,
            "help": setting.help,
        }
        for name, setting in SETTINGS.items()
    ]
    return web.json_response({"settings": rows}, dumps=lambda value: json.dumps(value, default=str))


def _channel(given: str) -> str:
    kind, _, name = given.partition(":")
    try:
        if given == channels.BROADCAST:
            return given
        if kind in ("user", "topic"):
            return channels.user(name) if kind == "user" else channels.topic(name)
    except InvalidEvent as error:
        raise InvalidRequest(error.detail, field="channel") from None
    raise InvalidRequest("must be broadcast, user:<id> or topic:<name>", field="channel")
