"""Where in a request a credential is: which one counts, and what becomes of it.

Rule: the first that is there decides, in the order of the header, a ticket, the cookie. It is believed whole or
refused; no other credential, and not development mode, makes a bad one good.
"""

from __future__ import annotations

import re
import time

import structlog
from aiohttp import web

from ..auth import tickets
from ..auth.identity import Publisher, Subscriber
from ..channels import USER_ID
from ..errors import NotAllowed, NotAuthenticated
from ..telemetry.sparing import Sparing
from . import request_ids
from .client_address import client_address, from_trusted_proxy
from .context import GATEWAY, Gateway

COOKIE = "gateway_token"
_COOKIES = re.compile(rf"(?:^|;)\s*{COOKIE}=([^;]*)")

log = structlog.get_logger(__name__)
_sparing = Sparing()


async def subscriber_of(request: web.Request) -> Subscriber:
    """Raises `NotAuthenticated`, `KeysUnavailable`, and `BrokerUnavailable` for a ticket."""
    try:
        return await _subscriber(request, request.app[GATEWAY])
    except NotAuthenticated as error:
        _refused(request, "subscribe", error.reason)
        raise


def void_ticket(request: web.Request) -> NotAuthenticated:
    """The refusal of a ticket that the registry did not admit: the same as that of one it does not know."""
    error = _void()
    _refused(request, "subscribe", error.reason)
    return error


def check_time_left(request: web.Request, subscriber: Subscriber) -> None:
    """Raise `NotAuthenticated` when the token has ended while its request had to wait."""
    if (left := subscriber.seconds_left(time.time())) is not None and left <= 0:
        _refused(request, "subscribe", "expired")
        raise NotAuthenticated("the token has expired; get a new one", reason="expired")


async def publisher_of(request: web.Request) -> Publisher:
    """Raises `NotAuthenticated`, `NotAllowed` for a token that may publish nothing, `KeysUnavailable`."""
    try:
        return await _publisher(request, request.app[GATEWAY])
    except NotAuthenticated as error:
        _refused(request, "publish", error.reason)
        raise
    except NotAllowed:
        _refused(request, "publish", "no_scope")
        raise


def operator_of(request: web.Request) -> None:
    """Let in whoever holds the console's key. Raises `NotAuthenticated`."""
    gateway = request.app[GATEWAY]
    if gateway.settings.dev and not gateway.console_keys:
        return
    try:
        if (shown := _bearer(request)) is None:
            raise NotAuthenticated("send the console's key (GATEWAY_CONSOLE_KEY) as 'Authorization: Bearer …'")
        if gateway.console_keys.find(shown) is None:
            raise NotAuthenticated("this is not the console's key (GATEWAY_CONSOLE_KEY)", reason="unknown_key")
    except NotAuthenticated as error:
        _refused(request, "console", error.reason)
        raise


async def _subscriber(request: web.Request, gateway: Gateway) -> Subscriber:
    header = gateway.settings.user_header
    if header is not None and from_trusted_proxy(request) and header in request.headers:
        return _vouched_for(request, header)
    if (token := _bearer(request)) is not None:
        return await _of_token(gateway, token)
    if (ticket := request.query.get("ticket")) is not None:
        return await _of_ticket(gateway, ticket)
    if (token := _cookie(request)) is not None:
        return await _of_token(gateway, token)
    if gateway.settings.dev:
        return _developer(request)
    raise NotAuthenticated(_how_to_come(request))


async def _publisher(request: web.Request, gateway: Gateway) -> Publisher:
    shown = _bearer(request)
    if shown is not None:
        publisher = gateway.publish_keys.find(shown) or gateway.console_keys.find(shown)
        if publisher is not None:
            return publisher
    if shown is not None and gateway.publisher_tokens is not None and shown.count(".") == 2:
        publisher = await gateway.publisher_tokens.believe(shown)
        if not publisher.scopes:  # a subscriber's; its sub is a user, whom no log line names
            raise NotAllowed("the token has no scope to publish anything: send a publish key, or a token with a scope")
        return publisher
    if gateway.settings.dev and (shown is None or not gateway.publish_keys):
        return Publisher("development", ("*",))
    if shown is None:
        raise NotAuthenticated("send a publish key, one of GATEWAY_PUBLISH_KEYS, as 'Authorization: Bearer …'")
    raise NotAuthenticated(
        "what was sent as 'Authorization: Bearer …' is no publish key of this gateway (GATEWAY_PUBLISH_KEYS)",
        reason="unknown_key",
    )


def _how_to_come(request: web.Request) -> str:
    """For whoever shows nothing that counts."""
    told = f"send a token as 'Authorization: Bearer …' or in the cookie {COOKIE}; `gateway token --user 42` makes one"
    if {"token", "access_token", "jwt"} & request.query.keys():
        return f"{told}. One in the URL is not taken, since URLs are logged: POST /v1/tickets gives a ticket for it"
    if "user" in request.query:
        return f"{told}. The parameter user is for development mode (gateway serve --dev)"
    return told


def _bearer(request: web.Request) -> str | None:
    """What `Authorization: Bearer` holds. Other schemes are for others: a proxy in front may have asked for them."""
    shown = [value.partition(" ") for value in request.headers.getall("Authorization", ())]
    tokens = [token.strip() for scheme, _, token in shown if scheme.lower() == "bearer"]
    if len(tokens) > 1:
        raise NotAuthenticated("send one 'Authorization: Bearer …', not several", reason="malformed")
    return tokens[0] if tokens else None


def _cookie(request: web.Request) -> str | None:
    """The token in the cookie. It is sent without its owner's doing, so whose page had it sent must be known (CSRF)."""
    if (token := request.cookies.get(COOKIE)) is None:
        return None
    if len(set(_COOKIES.findall(";".join(request.headers.getall("Cookie"))))) > 1:  # a neighbour may have set one
        raise NotAuthenticated(f"the cookie {COOKIE} was sent twice, with different tokens", reason="malformed")
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site in ("cross-site", "same-site") and origin not in request.app[GATEWAY].settings.cors_origins:
        raise NotAuthenticated(
            f"a page of another origin had the cookie {COOKIE} sent; GATEWAY_CORS_ORIGINS names those that may",
            reason="cross_site",
        )
    return token


async def _of_token(gateway: Gateway, token: str) -> Subscriber:
    if gateway.subscriber_tokens is None:
        raise NotAuthenticated("this gateway has no key to verify tokens with", reason="no_key")
    return await gateway.subscriber_tokens.believe(token)


async def _of_ticket(gateway: Gateway, ticket: str) -> Subscriber:
    """Believed when the registry admits it, which is what uses it up. A ticket does not outlive its token."""
    digest = tickets.digest(ticket)
    kept = await gateway.registry.holder(digest)
    subscriber = kept and tickets.read(kept, digest)
    if not subscriber or ((left := subscriber.seconds_left(time.time())) is not None and left <= 0):
        raise _void()
    return subscriber


def _void() -> NotAuthenticated:
    return NotAuthenticated("the ticket was used, is too old, or never was one; get a new one", reason="ticket")


def _vouched_for(request: web.Request, header: str) -> Subscriber:
    """The user that a trusted proxy names. It names nothing else, so there are no topics and no end."""
    named = request.headers.getall(header)
    if len(named) > 1 or USER_ID.fullmatch(named[0]) is None:
        raise NotAuthenticated(f"{header} must hold one user id", reason="user_header")
    return Subscriber(named[0], ())


def _developer(request: web.Request) -> Subscriber:
    user_id = request.query.get("user", "")
    if USER_ID.fullmatch(user_id) is None:
        raise NotAuthenticated("in development mode, say who you are: /v1/events?user=alice")
    return Subscriber(user_id, ("*",))


def _refused(request: web.Request, door: str, reason: str) -> None:
    request.app[GATEWAY].metrics.credentials_refused.labels(door, reason).inc()
    if (left_out := _sparing.left_out()) is not None:
        address = client_address(request)
        log.warning(
            "credential.refused",
            door=door,
            reason=reason,
            client=address,
            left_out=left_out,
            request_id=request_ids.of(request),
        )
