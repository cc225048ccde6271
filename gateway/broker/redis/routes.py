"""From a broker URL to the route that leads to its server."""

from __future__ import annotations

from .connect import Address, Fixed, Route
from .sentinel import Elected
from .urls import NO_FILES, Files, Target, read


def route(url: str, files: Files = NO_FILES) -> Route:
    """Raises `BrokerUrlError`; connects to nothing. Not for a cluster."""
    return fixed_or_elected(read(url, files))


def fixed_or_elected(target: Target) -> Route:
    if target.service:
        return Elected(target)
    host, port = target.hosts[0] if target.hosts else ("", 0)
    return Fixed(Address(host, port, target.path, target.login, target.db, target.tls))
