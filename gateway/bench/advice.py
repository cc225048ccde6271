"""What to do about a refusal, each in one line."""

from __future__ import annotations

from ..errors import GatewayError, InvalidRequest, NotAllowed, NotAuthenticated
from .stream import NotOpened


def not_opened(error: NotOpened, url: str) -> str:
    """The first stream was refused."""
    match error.status:
        case None if "certificate" in str(error):
            return f"{url}: {error}; name the authority that signed it in SSL_CERT_FILE"
        case None if "cannot connect" in str(error):
            return f"{url}: {error}; start a gateway there with `gateway serve --dev`, or give another --url"
        case 401:
            return f"{url}: {error}; give --token, or the gateway's secret with --jwt-secret or GATEWAY_JWT_SECRET"
        case 403:
            return f"{url}: {error}; give a --token that may (topics: bench.*), or take another --to"
        case 404 | 200 | None:
            return f"{url}: {error}; is it a gateway's address? Give another with --url"
    return f"{url}: {error}"


def not_published(error: GatewayError, url: str, channel: str) -> str:
    """The first event was refused, for this channel."""
    if isinstance(error, NotAuthenticated):
        return f"{url}: 401 {error}; give a key with --publish-key or GATEWAY_PUBLISHER_KEY"
    if isinstance(error, NotAllowed):
        kind = channel.partition(":")[0]
        scope = {"user": "user:*", "topic": "topic:bench.*"}.get(kind, kind)
        return f"{url}: 403 {error}; give a --publish-key with the scope {scope}, or take another --to"
    if type(error) is InvalidRequest:  # also what the HTTP client calls an answer that is no gateway's
        return f"{url} does not take events ({error}); give a gateway's address with --publish-url"
    return f"{url}: {error.status} {error}"


def no_room(reason: str) -> str:
    """What follows a refusal for want of room."""
    if "MAX_CONNECTIONS_PER_USER" in reason.upper():
        return "; raise GATEWAY_MAX_CONNECTIONS_PER_USER there, or have a user for each made with --jwt-secret"
    return "; raise GATEWAY_MAX_CONNECTIONS there" if "MAX_CONNECTIONS" in reason.upper() else ""
