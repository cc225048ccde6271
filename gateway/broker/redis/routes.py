"""From a broker URL to the route that leads to its server."""

from __future__ import annotations

from .connect import Address, Fixed, Route
from .sentinel import Elected
from .urls import NO_FILES, Files, read


def route(url: str, files: Files = NO_FILES) -> Route:
    """Raises `BrokerUrlError`; connects to nothing."""
    target = read(url, files)
    if target.service:
        return Elected(target)
    host, port = target.hosts[0] if target.hosts else ("", 0)
    return Fixed(Address(host, port, target.path, target.login, target.db, target.tls))
