"""Whose address a request comes from.

Rule: the peer's, unless the peer is one of GATEWAY_TRUSTED_PROXIES; then X-Forwarded-For is read from the right, as
the proxies wrote it, and the first address that is not a trusted proxy's is the client's. What stands left of it
anybody can have written. A peer on a Unix socket counts as 127.0.0.1: it is on this machine.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from aiohttp import web

from .context import GATEWAY

Networks = tuple[IPv4Network | IPv6Network, ...]

LOCAL = IPv4Address("127.0.0.1")
REMEMBERED = 10_000
SITE_BITS = 64
"""Of an IPv6 address; the rest a client chooses for itself, and again as often as it likes (RFC 8981)."""


def client_address(request: web.Request) -> str:
    """The client's IP address, in its one canonical spelling (no port, no zone, no IPv4 inside of IPv6)."""
    peer, trusted = _peer(request), request.app[GATEWAY].settings.trusted_proxies
    if not trusted or not _is_among(peer, trusted):
        return str(peer)
    return str(_behind(peer, request.headers.getall("X-Forwarded-For", ()), trusted))


def client_network(request: web.Request) -> str:
    """What limits by address count as one client: an IPv4 address, or the /64 of an IPv6 one, all of which it has."""
    return _network(client_address(request))


def from_trusted_proxy(request: web.Request) -> bool:
    """Whether the peer itself is one of GATEWAY_TRUSTED_PROXIES, so that the headers it sets are believed."""
    trusted = request.app[GATEWAY].settings.trusted_proxies
    return bool(trusted) and _is_among(_peer(request), trusted)


def _behind(peer: IPv4Address | IPv6Address, lines: Iterable[str], trusted: Networks) -> IPv4Address | IPv6Address:
    """The right-most address that is not trusted; past an entry that is no address, nothing is believed."""
    nearest = peer
    for entry in reversed(",".join(lines).split(",")):
        try:
            nearest = _address(_without_port(entry.strip()))
        except ValueError:
            return nearest
        if not _is_among(nearest, trusted):
            return nearest
    return nearest


def _peer(request: web.Request) -> IPv4Address | IPv6Address:
    return _address(request.remote) if request.remote else LOCAL


def _address(text: str) -> IPv4Address | IPv6Address:
    return _parsed(text.partition("%")[0])  # without the zone, which may be long, and would be remembered


@lru_cache(REMEMBERED)
def _parsed(text: str) -> IPv4Address | IPv6Address:
    address = ip_address(text)
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


@lru_cache(REMEMBERED)
def _network(text: str) -> str:
    address = _parsed(text)
    return text if address.version == 4 else str(IPv6Network((address, SITE_BITS), strict=False))


def _without_port(entry: str) -> str:
    """Some proxies write `192.0.2.1:4711` and `[2001:db8::1]:4711`."""
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    return entry.partition(":")[0] if entry.count(":") == 1 else entry


def _is_among(address: IPv4Address | IPv6Address, networks: Networks) -> bool:
    return any(address in network for network in networks)
