"""The settings to what verifies tokens."""

from __future__ import annotations

from ..config import ConfigError, Settings
from . import keys
from .keyring import FixedKeys, Keyring
from .verifier import Verifier


def verifier(settings: Settings) -> Verifier | None:
    """None where no tokens are taken. Raises `ConfigError` for a key that cannot be used."""
    keyring = _keyring(settings)
    if keyring is None:
        return None
    return Verifier(keyring, audience=settings.jwt_audience, issuer=settings.jwt_issuer)


def _keyring(settings: Settings) -> Keyring | None:
    allowed = settings.jwt_algorithms
    if settings.jwt_secret is not None:
        return FixedKeys([keys.of_secret(settings.jwt_secret, allowed)])
    if settings.jwt_public_key is not None:
        try:
            return FixedKeys(keys.of_pem(settings.jwt_public_key, allowed))
        except keys.Unusable as why:
            raise ConfigError([f"GATEWAY_JWT_PUBLIC_KEY: {why}"]) from None
    return None
