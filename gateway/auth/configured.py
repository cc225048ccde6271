"""The settings to what verifies tokens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import structlog

from ..config import ConfigError, Settings
from . import keys
from .jwks import Jwks
from .keyring import FixedKeys, Keyring
from .verifier import Verifier

log = structlog.get_logger(__name__)

Fetch = Callable[[str], Awaitable[bytes]]


def verifier(settings: Settings, fetch: Fetch, count: Callable[[str], None]) -> Verifier | None:
    """None where no tokens are taken. `fetch` gets a JWK Set, as `Jwks` wants it but with its URL.

    Raises `ConfigError` for a key that cannot be used.
    """
    keyring = _keyring(settings, fetch, count)
    if keyring is None:
        return None
    return Verifier(keyring, audience=settings.jwt_audience, issuer=settings.jwt_issuer)


def _keyring(settings: Settings, fetch: Fetch, count: Callable[[str], None]) -> Keyring | None:
    allowed = settings.jwt_algorithms
    if settings.jwt_secret is not None:
        return FixedKeys([keys.of_secret(settings.jwt_secret, allowed)])
    if settings.jwt_public_key is not None:
        try:
            return FixedKeys(keys.of_pem(settings.jwt_public_key, allowed))
        except keys.Unusable as why:
            raise ConfigError([f"GATEWAY_JWT_PUBLIC_KEY: {why}"]) from None
    if (url := settings.jwt_jwks_url) is not None:
        if not _is_private(url):
            log.warning(
                "jwks.unencrypted", detail="GATEWAY_JWT_JWKS_URL: whoever sits between can put in keys; use https"
            )
        return Jwks(lambda: fetch(url), refresh=settings.jwt_jwks_refresh, allowed=allowed, count=count)
    return None


def _is_private(url: str) -> bool:
    """Whether nobody between here and there can change what comes. Raises `ConfigError` for what is no URL."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ConfigError(["GATEWAY_JWT_JWKS_URL: is not a URL"]) from None
    return parts.scheme == "https" or parts.hostname in ("localhost", "127.0.0.1", "::1")
