"""A console's own streams: any channels, as a client of theirs would hear them. They count as no user's."""

from __future__ import annotations

from aiohttp import web
from multidict import MultiMapping

from ... import channels
from ...auth.identity import Subscriber
from ...encodings import EVENT_STREAM
from ...errors import InvalidEvent, InvalidRequest
from .. import admission, asked, request_ids, stream
from ..auth import operator_of
from ..carrier import Carrier
from ..context import GATEWAY
from ..forms import Form
from .board import CHANNEL

OPERATOR = Subscriber("(console)", ())
"""No user has this id: it is outside their grammar."""


async def events(request: web.Request) -> web.StreamResponse:
    """The streams of `fleet=1`, `broadcast=1`, `user=` and `topic=`, from a cursor or from now on."""
    operator_of(request)
    gateway = request.app[GATEWAY]
    parts = asked.over(request, _listen(request.query), Form(EVENT_STREAM))
    await admission.enter(request, OPERATOR)
    return await stream.opened(request, Carrier(gateway, OPERATOR, parts, request_id=request_ids.of(request)))


def _listen(query: MultiMapping[str]) -> list[str]:
    listen = [CHANNEL] if "fleet" in query else []
    listen += [channels.BROADCAST] if "broadcast" in query else []
    try:
        listen += [channels.user(name) for name in query.getall("user", [])]
        listen += [channels.topic(name) for name in query.getall("topic", [])]
    except InvalidEvent as error:
        raise InvalidRequest(error.detail, field=error.field) from None
    if not listen:
        raise InvalidRequest("say what to follow: fleet=1, broadcast=1, user=<id> or topic=<name>")
    return listen
