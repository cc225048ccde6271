"""Development mode is for this machine only, and listening on loopback does not see to that alone.

Any web page can have its own name resolve to 127.0.0.1 (DNS rebinding); its requests then are of its own origin, and
read what they get. But they say by which name they came. Refused are names that somebody can own: no address, no single
word, and none of those that are set apart (RFC 2606, RFC 6761, RFC 6762).
"""

from __future__ import annotations

from ipaddress import ip_address

from aiohttp import web
from aiohttp.typedefs import Handler

from ..errors import NotAllowed

NOBODYS = ("localhost", "test", "example", "invalid", "local", "internal", "example.com", "example.net", "example.org")


@web.middleware
async def refuse_owned_names(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A middleware, for development mode."""
    if can_be_owned(name := request.headers.get("Host", "")):
        raise NotAllowed(
            f"development mode is for this machine only, and does not answer to {name[:64]!r}; "
            "ask for localhost, or run the gateway without --dev",
            field="Host",
        )
    return await handler(request)


def can_be_owned(host: str) -> bool:
    """Whether the name in a Host header is one that its sender may have in the DNS."""
    name = host.lower() if host.endswith("]") else host.lower().rpartition(":")[0] or host.lower()
    name = name.strip("[]").removesuffix(".")
    if "." not in name or _is_address(name):
        return False
    return not any(f".{name}".endswith(f".{suffix}") for suffix in NOBODYS)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
