"""`POST /v1/tickets`: for whoever cannot send a header, and shall not put a token into a URL.

Whoever has a token gets a ticket for it, good for one connection within half a minute. The stream ends when the token
does, and a ticket that is found in a proxy's log is worth nothing.
"""

from __future__ import annotations

import time

import structlog
from aiohttp import web

from ..auth import tickets
from ..broker.registry import TICKET_SECONDS
from ..errors import GatewayError, NotAuthenticated
from ..telemetry.logging import user_hash
from ..telemetry.sparing import Sparing
from . import admission, request_ids
from .auth import subscriber_of
from .context import GATEWAY

log = structlog.get_logger(__name__)
_sparing = Sparing()


def routes() -> list[web.RouteDef]:
    return [web.post("/v1/tickets", issue)]


async def issue(request: web.Request) -> web.Response:
    """A ticket for whoever shows a token."""
    gateway = request.app[GATEWAY]
    admission.slow_down(request)
    subscriber = await subscriber_of(request)
    if subscriber.ticket is not None:
        raise NotAuthenticated("a ticket is not for getting another; show the token", reason="ticket")
    ticket = tickets.new_ticket()
    try:
        await gateway.registry.issue(subscriber.user_id, tickets.digest(ticket), tickets.written(subscriber))
    except GatewayError as error:
        gateway.metrics.tickets.labels("refused").inc()
        if (left_out := _sparing.left_out()) is not None:
            user = user_hash(subscriber.user_id)
            request_id = request_ids.of(request)
            log.warning("ticket.refused", reason=error.slug, user=user, left_out=left_out, request_id=request_id)
        raise
    gateway.metrics.tickets.labels("issued").inc()
    left = subscriber.seconds_left(time.time())
    expires_in = int(TICKET_SECONDS if left is None else max(min(TICKET_SECONDS, left), 0))
    answer = {"ticket": ticket, "expires_in": expires_in}
    return web.json_response(answer, status=201, headers={"Cache-Control": "no-store"})
