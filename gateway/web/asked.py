"""What the request for a stream asks for: channels, event types, a cursor. All of it is checked here."""

from __future__ import annotations

import re
from functools import partial

from aiohttp import web

from .. import channels
from ..auth.identity import Subscriber
from ..config import Settings
from ..errors import InvalidEvent, InvalidRequest, NotAllowed
from ..hub import Connection
from ..ids import START, parse_cursor
from .context import GATEWAY
from .forms import Form
from .poll import Poll

_TYPES = re.compile(r"[A-Za-z0-9_.:-]{1,128}(\.\*)?|\*", re.ASCII)


def connection(request: web.Request, subscriber: Subscriber, form: Form, settings: Settings) -> Connection:
    """Raises `InvalidRequest`, and `NotAllowed` for a topic that is not the subscriber's to read."""
    listen = [channels.user(subscriber.user_id), channels.BROADCAST, *_topics(request, subscriber, settings)]
    return over(request, listen, form, settings)


def over(request: web.Request, listen: list[str], form: Form, settings: Settings) -> Connection:
    """To these channels, with the types and the cursor that the request has."""
    kind, types = Connection if form.wait is None else Poll, _types(request, settings)
    if (catalogue := request.app[GATEWAY].catalogue) is not None:
        types = catalogue.expanded(types)
    make = partial(kind, listen, types=types, encoding=form.encoding)
    given = request.headers.get("Last-Event-ID") or request.query.get("last_event_id")
    if not given:
        return make()
    cursor = parse_cursor(given)
    if cursor is None:
        return make(START, unknown=given[:64].encode("ascii", "replace").decode())
    return make(cursor)


def _topics(request: web.Request, subscriber: Subscriber, settings: Settings) -> list[str]:
    names, most = request.query.getall("topic", []), settings.max_topics
    if len(names) > most:
        raise InvalidRequest(f"at most {most} (GATEWAY_MAX_TOPICS) for one stream", field="topic", reason="max_topics")
    found = []
    for name in names:
        try:
            found.append(channels.topic(name))
        except InvalidEvent as error:
            raise InvalidRequest(error.detail, field="topic") from None
        if not subscriber.may_read(name):
            raise NotAllowed(f"the token's topics do not include {name!r}", field="topic")
    return found


def _types(request: web.Request, settings: Settings) -> list[str]:
    """Each is compared with every event of the stream, so there are not any number of them."""
    patterns = [pattern for given in request.query.getall("types", []) for pattern in given.split(",") if pattern]
    most = settings.max_types
    if len(patterns) > most:
        raise InvalidRequest(f"at most {most} (GATEWAY_MAX_TYPES) for one stream", field="types", reason="max_types")
    for pattern in patterns:
        if _TYPES.fullmatch(pattern) is None:
            raise InvalidRequest("event types, exact or 'prefix.*', or categories, separated by commas", field="types")
    return patterns
