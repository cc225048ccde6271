"""Whether a newcomer may have a stream here: what is asked before its token is looked at, and what after.

What costs least is asked first. How many streams a user may have the registry knows, for all processes.
"""

from __future__ import annotations

from aiohttp import web

from ..auth.identity import Subscriber
from ..broker.registry import Verdict
from ..errors import AtCapacity, KeptAway, RateLimited
from .auth import void_ticket
from .client_address import client_network
from .context import GATEWAY, Gateway

_WHY = {
    "draining": "this process is about to end",
    "descriptors": "this process has as many streams as the system gives it file descriptors for",
    "max_connections": "this process has as many streams as it may (GATEWAY_MAX_CONNECTIONS)",
    "max_connections_per_address": "your address has as many streams as one may (GATEWAY_MAX_CONNECTIONS_PER_ADDRESS)",
    "max_connections_per_user": "the user has as many streams as one may (GATEWAY_MAX_CONNECTIONS_PER_USER)",
    "connect_rate": "too many come at once (GATEWAY_CONNECT_RATE)",
    "connect_rate_per_address": "too many come from your address at once (GATEWAY_CONNECT_RATE_PER_ADDRESS)",
}


def address_of(request: web.Request) -> str | None:
    """Where the newcomer comes from, where a limit depends on it."""
    return client_network(request) if request.app[GATEWAY].newcomers.by_address else None


def knock(gateway: Gateway, address: str | None) -> None:
    """Before anything else. Raises `AtCapacity`; else the address has a place, until `newcomers.leave`."""
    if reason := gateway.newcomers.too_fast(address)[0] or _no_room(gateway):
        raise _full(reason)
    if not gateway.newcomers.enter(address):
        raise _full("max_connections_per_address")


async def enter(request: web.Request, subscriber: Subscriber) -> None:
    """Raises `AtCapacity`, `BrokerUnavailable`, `KeptAway`, and `NotAuthenticated` for a ticket that is void.

    Else the registry has counted it, and the hub must know of it before anything is awaited.
    """
    gateway = request.app[GATEWAY]
    verdict = await gateway.registry.enter(subscriber.user_id, subscriber.ticket)
    if verdict is Verdict.KEPT_AWAY:
        raise KeptAway
    if verdict is Verdict.VOID:
        raise void_ticket(request)
    if verdict is not Verdict.ADMITTED:
        raise _full(verdict)
    if reason := _no_room(gateway):  # others came while the registry was asked
        gateway.registry.leave(subscriber.user_id)
        raise _full(reason)


def slow_down(request: web.Request) -> None:
    """For what leads to a stream and is asked for as often. Raises `RateLimited`."""
    newcomers = request.app[GATEWAY].newcomers
    reason, wait = newcomers.too_fast(address_of(request))
    if reason:
        raise RateLimited(_WHY[reason], retry_after=wait)


def _no_room(gateway: Gateway) -> str:
    if gateway.draining:
        return "draining"
    if gateway.relays.count < gateway.overload.most:
        return ""
    return "max_connections" if gateway.overload.most == gateway.settings.max_connections else "descriptors"


def _full(reason: str) -> AtCapacity:
    return AtCapacity(_WHY[reason], reason=reason)
