"""What the request for a stream asks for: channels, event types, a cursor. All of it is checked here."""

from __future__ import annotations

import re

from aiohttp import web

from .. import channels
from ..auth.identity import Subscriber
from ..config import Settings
from ..errors import InvalidEvent, InvalidRequest, NotAllowed
from ..hub import Connection
from ..ids import START, EventId, Positions, parse_cursor, parse_positions
from ..relay import Relay
from ..relays import STREAM, Kinds, TooManyPartitions
from .context import GATEWAY, Gateway
from .forms import Form
from .poll import Poll, PollLeg

POLL = Kinds(Poll, PollLeg)

_TYPES = re.compile(r"[A-Za-z0-9_.:-]{1,128}(\.\*)?|\*", re.ASCII)


def connections(
    request: web.Request, subscriber: Subscriber, form: Form, gateway: Gateway
) -> list[tuple[Relay, Connection]]:
    """Raises `InvalidRequest`, and `NotAllowed` for a topic that is not the subscriber's to read."""
    topics = _topics(request, subscriber, gateway.settings)
    return over(request, [channels.user(subscriber.user_id), channels.BROADCAST, *topics], form)


def over(request: web.Request, listen: list[str], form: Form) -> list[tuple[Relay, Connection]]:
    """To these channels, with the types and the cursor that the request has; more than one connection where they lie
    in several partitions."""
    gateway = request.app[GATEWAY]
    types, (cursor, unknown) = _types(request, gateway.settings), _cursor(request, gateway)
    if gateway.catalogue is not None:
        types = gateway.catalogue.expanded(types)
    kinds = STREAM if form.wait is None else POLL
    try:
        return gateway.relays.connections(
            listen, cursor, types=types, unknown=unknown, encoding=form.encoding, kinds=kinds
        )
    except TooManyPartitions as error:
        raise InvalidRequest(f"the topics {error}: ask for some in a stream of their own", field="topic") from None


def _cursor(request: web.Request, gateway: Gateway) -> tuple[EventId | Positions | None, str | None]:
    """Where to begin, and what the client sent when that is no cursor."""
    given = request.headers.get("Last-Event-ID") or request.query.get("last_event_id")
    if not given:
        return None, None
    cursor = parse_cursor(given) if len(gateway.relays.each) == 1 else parse_positions(given)
    if cursor is None:
        return START, given[:64].encode("ascii", "replace").decode()
    return cursor, None


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
