"""Keys that signatures are verified with. A key's own kind and curve say which algorithms it is for (RFC 8725, 3.1).

HS* only with the secret, ES256 only with P-256, and so on; GATEWAY_JWT_ALGORITHMS and a JWK's `alg` narrow that. So a
public key is never taken for a secret, whatever a token's header says.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt.algorithms import get_default_algorithms

HMAC = frozenset(("HS256", "HS384", "HS512"))
RSA = frozenset(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"))
RSA_BITS = range(2048, 8193)
"""Less is too weak (RFC 7518, section 3.3); verifying with more takes milliseconds."""
CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}

_PEM_BLOCK = re.compile(r"-----BEGIN ((?:RSA )?PUBLIC KEY)-----.*?-----END \1-----", re.DOTALL)
_ALGORITHMS = get_default_algorithms()


class Unusable(ValueError):
    """Not a key to verify tokens with. The text says why, and holds nothing of the key."""


@dataclass(frozen=True, slots=True)
class Key:
    """`prepared` is what PyJWT's algorithm objects take. `kid` is None for a key that may have signed any token."""

    algorithms: frozenset[str]
    prepared: Any = field(repr=False)
    kid: str | None = None

    def verifies(self, algorithm: str, signed: bytes, signature: bytes) -> bool:
        return algorithm in self.algorithms and _ALGORITHMS[algorithm].verify(signed, self.prepared, signature)


def of_secret(secret: str, allowed: Collection[str] = ()) -> Key:
    return Key(_narrowed(HMAC, allowed), secret.encode())


def of_public(key: object, allowed: Collection[str] = (), kid: str | None = None) -> Key:
    """Of one of cryptography's public keys. Raises `Unusable`."""
    return Key(_narrowed(_algorithms_of(key), allowed), key, kid)


def of_pem(text: str, allowed: Collection[str] = ()) -> tuple[Key, ...]:
    """The public keys of PEM blocks, one after another. Raises `Unusable`."""
    blocks = [block[0] for block in _PEM_BLOCK.finditer(text)]
    if not blocks:
        raise Unusable("holds no whole block of BEGIN PUBLIC KEY and END PUBLIC KEY")
    return tuple(_of_pem_block(block, allowed) for block in blocks)


def of_jwk(jwk: object, allowed: Collection[str] = ()) -> Key:
    """A key of a JWK Set (RFC 7517). Raises `Unusable` for one that is not there to verify signatures with."""
    if not isinstance(jwk, dict):
        raise Unusable("is no object")
    if jwk.get("kty") not in ("RSA", "EC", "OKP"):
        raise Unusable("its kty is not RSA, EC or OKP")
    if "d" in jwk:
        raise Unusable("is a private key: withdraw it, it is public now")
    if jwk.get("use", "sig") != "sig":
        raise Unusable("its use is not sig")
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise Unusable("its key_ops do not include verify")
    kid, algorithm = jwk.get("kid"), jwk.get("alg")
    if not isinstance(kid, str | None) or not isinstance(algorithm, str | None):
        raise Unusable("its kid or alg is no string")
    prepared = _from_jwk(jwk)
    algorithms = _algorithms_of(prepared)
    return Key(_narrowed(algorithms if algorithm is None else algorithms & {algorithm}, allowed), prepared, kid)


def _from_jwk(jwk: dict[str, Any]) -> Any:
    reader = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}[jwk["kty"]]
    try:
        return _ALGORITHMS[reader].from_jwk(jwk)
    except Exception:  # the libraries' own errors, and what they stumble over in a value of another type
        raise Unusable("cannot be read as what its kty says") from None


def _of_pem_block(block: str, allowed: Collection[str]) -> Key:
    try:
        prepared = load_pem_public_key(block.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise Unusable("cannot be read as a public key") from None
    return of_public(prepared, allowed)


def _algorithms_of(key: object) -> frozenset[str]:
    match key:
        case RSAPublicKey() if key.key_size in RSA_BITS:
            return RSA
        case RSAPublicKey():
            raise Unusable(f"is an RSA key of {key.key_size} bits; 2048 to 8192 are taken")
        case EllipticCurvePublicKey() if key.curve.name in CURVES:
            return frozenset((CURVES[key.curve.name],))
        case Ed25519PublicKey() | Ed448PublicKey():
            return frozenset(("EdDSA",))
    raise Unusable("is of a kind or a curve that no algorithm here is for")


def _narrowed(algorithms: frozenset[str], allowed: Collection[str]) -> frozenset[str]:
    narrowed = algorithms & frozenset(allowed) if allowed else algorithms
    if not narrowed:
        raise Unusable("is for none of the algorithms that are accepted (GATEWAY_JWT_ALGORITHMS)")
    return narrowed
