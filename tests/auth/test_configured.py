"""The settings to what verifies tokens."""

from __future__ import annotations

import pytest
from auth.signing import SECRET, pem
from structlog.testing import capture_logs

from gateway.auth.configured import verifier
from gateway.auth.jwks import Jwks
from gateway.auth.keyring import FixedKeys
from gateway.auth.verifier import Verifier
from gateway.config import ConfigError, Settings


async def fetch(url: str) -> bytes:
    raise AssertionError("nothing is fetched before it runs")


def of(settings: Settings) -> Verifier | None:
    return verifier(settings, fetch, lambda outcome: None)


def test_each_setting_gives_its_keys() -> None:
    """A secret, public keys, a JWK Set; without any of them no tokens are taken."""
    assert of(Settings()) is None
    for settings in (Settings(jwt_secret=SECRET), Settings(jwt_public_key=pem("p256") + "\n" + pem("rsa"))):
        one = of(settings)
        assert one is not None
        assert isinstance(one.keys, FixedKeys)
    one = of(Settings(jwt_jwks_url="https://issuer.example/jwks.json"))
    assert one is not None
    assert isinstance(one.keys, Jwks)


@pytest.mark.parametrize(
    ("text", "algorithms"),
    [
        ("-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----", ()),
        (pem("rsa1024"), ()),
        (pem("rsa"), ("ES256",)),
    ],
)
def test_a_key_that_cannot_be_used_is_a_start_up_error(text: str, algorithms: tuple[str, ...]) -> None:
    """It names the setting, and says what is wrong with the key without showing it."""
    with pytest.raises(ConfigError, match="GATEWAY_JWT_PUBLIC_KEY: ") as raised:
        of(Settings(jwt_public_key=text, jwt_algorithms=algorithms))
    assert text[30:50] not in str(raised.value)


def test_an_address_that_is_none_is_a_start_up_error() -> None:
    """It names the setting."""
    with pytest.raises(ConfigError, match="GATEWAY_JWT_JWKS_URL"):
        of(Settings(jwt_jwks_url="http://[issuer/jwks.json"))


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("https://issuer.example/jwks.json", False),
        ("http://127.0.0.1:8000/jwks.json", False),
        ("http://[::1]/jwks.json", False),
        ("http://issuer.example/jwks.json", True),
        ("http://localhost.example/jwks.json", True),
    ],
)
def test_keys_over_an_open_line_are_warned_of(url: str, warned: bool) -> None:
    """Plain HTTP to another machine lets whoever sits between put in keys."""
    with capture_logs() as logged:
        of(Settings(jwt_jwks_url=url))
    assert [line["event"] for line in logged] == (["jwks.unencrypted"] if warned else [])
