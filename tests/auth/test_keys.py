"""A key's own kind and curve say which algorithms it verifies."""

from __future__ import annotations

from typing import Any

import pytest
from auth.signing import KINDS, SECRET, good, jwk, pem, signed

from gateway.auth import keys
from gateway.auth.keys import Unusable
from gateway.auth.token import read

ALL = {*KINDS, "HS256", "HS384", "HS512"}


def verifies(key: keys.Key, token: str) -> bool:
    shown = read(token)
    return key.verifies(shown.algorithm, shown.signed, shown.signature)


@pytest.mark.parametrize("algorithm", KINDS)
def test_each_algorithm_verifies_with_its_kind_of_key(algorithm: str) -> None:
    """PEM or JWK, what the private key signed verifies, and what another of its kind signed does not."""
    kind = KINDS[algorithm]
    (of_pem,) = keys.of_pem(pem(kind))
    for key in (of_pem, keys.of_jwk(jwk(kind))):
        assert verifies(key, signed(algorithm, good()))
        assert not verifies(key, signed(algorithm, good(), number=2))


@pytest.mark.parametrize("algorithm", sorted(ALL))
@pytest.mark.parametrize("kind", sorted({*KINDS.values()}))
def test_no_algorithm_verifies_with_another_kind_of_key(algorithm: str, kind: str) -> None:
    """The algorithms of a key are those of its kind and curve, and no others."""
    (key,) = keys.of_pem(pem(kind))
    assert (algorithm in key.algorithms) == (KINDS.get(algorithm) == kind)


def test_a_secret_is_for_hmac_only() -> None:
    """Whatever text the secret is, a public key's included, it verifies HMACs and nothing else."""
    key = keys.of_secret(pem("rsa"))
    assert key.algorithms == {"HS256", "HS384", "HS512"}
    assert verifies(keys.of_secret(SECRET), signed("HS384", good()))
    assert not verifies(key, signed("RS256", good()))


def test_allowed_algorithms_narrow() -> None:
    """GATEWAY_JWT_ALGORITHMS takes away, and never adds."""
    (key,) = keys.of_pem(pem("rsa"), ["PS256", "ES256", "HS256"])
    assert key.algorithms == {"PS256"}
    with pytest.raises(Unusable, match="GATEWAY_JWT_ALGORITHMS"):
        keys.of_pem(pem("p256"), ["RS256"])


def test_several_pem_blocks_are_several_keys() -> None:
    """Both keys of a rotation, of different kinds, may stand in one setting."""
    both = keys.of_pem(pem("rsa") + "\n\n" + pem("p256", 2))
    assert [sorted(key.algorithms)[0] for key in both] == ["PS256", "ES256"]


@pytest.mark.parametrize("kind", ["rsa1024", "secp256k1"])
def test_a_key_that_is_too_weak_or_unheard_of_is_refused(kind: str) -> None:
    """Short RSA keys and curves without an algorithm here, as PEM and as JWK."""
    for make in (lambda: keys.of_pem(pem(kind)), lambda: keys.of_jwk(jwk(kind))):
        with pytest.raises(Unusable):
            make()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-----BEGIN PUBLIC KEY-----",
        "-----BEGIN PUBLIC KEY-----\nnothing\n-----END PUBLIC KEY-----",
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----",
    ],
)
def test_a_pem_that_is_none_is_refused(text: str) -> None:
    """What is cut off or holds no key is told, without what it holds."""
    with pytest.raises(Unusable) as raised:
        keys.of_pem(text)
    assert "MCow" not in str(raised.value)


BAD_JWKS: dict[str, Any] = {
    "a list": [],
    "nothing": {},
    "a secret": {"kty": "oct", "k": "c2VjcmV0"},
    "an unknown kind": {"kty": "LWE"},
    "kty is a list": {"kty": ["RSA"]},
    "to encrypt with": jwk("rsa") | {"use": "enc"},
    "use is a list": jwk("rsa") | {"use": ["sig"]},
    "not to verify with": jwk("rsa") | {"key_ops": ["encrypt"]},
    "key_ops is a string": jwk("rsa") | {"key_ops": "verify"},
    "for another algorithm": jwk("rsa") | {"alg": "RSA-OAEP"},
    "for HMAC": jwk("rsa") | {"alg": "HS256"},
    "for none": jwk("rsa") | {"alg": "none"},
    "of another curve than its alg": jwk("p256") | {"alg": "ES384"},
    "kid is a number": jwk("rsa") | {"kid": 1},
    "alg is a list": jwk("rsa") | {"alg": ["RS256"]},
    "private": jwk("ed25519") | {"d": "AAAA"},
    "without a modulus": {"kty": "RSA", "e": "AQAB"},
    "modulus is a number": {"kty": "RSA", "e": "AQAB", "n": 5},
    "modulus is no base64": {"kty": "RSA", "e": "AQAB", "n": "€"},
    "a point that is not on its curve": jwk("p256") | {"x": jwk("p256", number=2)["x"]},
    "of an unknown curve": jwk("p256") | {"crv": "P-1"},
    "too short a point": jwk("ed25519") | {"x": "AAAA"},
    "curve is a list": jwk("ed25519") | {"crv": ["Ed25519"]},
}


@pytest.mark.parametrize("name", BAD_JWKS)
def test_a_jwk_that_is_not_there_to_verify_with_is_refused(name: str) -> None:
    """By kty, use, key_ops, alg and what it holds; each refusal is `Unusable` and nothing else."""
    with pytest.raises(Unusable):
        keys.of_jwk(BAD_JWKS[name])


def test_a_private_key_that_was_published_is_told() -> None:
    """Whoever reads the log learns that the key is not a secret any more."""
    with pytest.raises(Unusable, match="private key"):
        keys.of_jwk(BAD_JWKS["private"])


def test_a_jwk_may_narrow_what_it_is_for() -> None:
    """`alg` of a JWK pins one algorithm; use and key_ops of a signature key are fine."""
    key = keys.of_jwk(jwk("rsa", "one", alg="PS384", use="sig", key_ops=["verify"]))
    assert key.algorithms == {"PS384"}
    assert key.kid == "one"
    assert keys.of_jwk(jwk("ed448")).algorithms == {"EdDSA"}


def test_a_key_is_not_shown() -> None:
    """The repr of a key holds none of it."""
    assert SECRET not in repr(keys.of_secret(SECRET))
