"""How a stream is refused.

Rule: an EventSource gives up for good on any status but 200. So what may be different in a moment (a 503) is told to
it as a stream that only says when to come back; what will not, and whatever is told to others, is a problem document.
204 is for those who were told to stay away.
"""

from __future__ import annotations

import random

import structlog
from aiohttp import web
from aiohttp_sse import EventSourceResponse

from ..errors import GatewayError, KeptAway, NotAuthenticated
from ..frames import retry_frame
from ..telemetry.sparing import Sparing
from . import request_ids
from .client_address import client_address
from .context import GATEWAY

log = structlog.get_logger(__name__)
_sparing = Sparing()


async def answer(request: web.Request, error: GatewayError) -> web.StreamResponse:
    """What is told to an EventSource; raises the error for others to be told. Either way it is counted and logged."""
    if isinstance(error, NotAuthenticated):  # as every credential that was refused, by `auth.py`
        raise error
    gateway = request.app[GATEWAY]
    gateway.metrics.refused.labels(error.reason).inc()
    if (left_out := _sparing.left_out()) is not None:
        log.warning(
            "stream.refused",
            reason=error.reason,
            client=client_address(request),
            left_out=left_out,
            request_id=request_ids.of(request),
        )
    if isinstance(error, KeptAway):
        return web.Response(status=204)
    if error.status != 503:
        raise error
    retry_ms = jittered(gateway.settings.retry_ms)
    if "text/event-stream" not in request.headers.get("Accept", ""):
        error.retry_after = error.retry_after or retry_ms / 1000
        raise error
    response = event_stream(gateway.settings.send_timeout)
    response.force_close()
    await response.prepare(request)
    response.stop_streaming()
    await response.write(retry_frame(retry_ms))
    return response


def event_stream(send_timeout: float) -> EventSourceResponse:
    response = EventSourceResponse(send_timeout=send_timeout)
    response.headers["Cache-Control"] = "no-store"
    return response


def jittered(value: float) -> int:
    """`value` ± 50 %, so that clients that left together do not return together."""
    return round(value * random.uniform(0.5, 1.5))
