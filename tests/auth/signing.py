"""Keys of every kind and tokens signed with them, for tests. Made once: RSA keys take a while."""

from __future__ import annotations

import base64
import json
import time
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import get_default_algorithms

SECRET = "a-shared-secret-that-is-long-enough-for-every-hmac-of-the-three-"
KINDS = {
    "RS256": "rsa", "RS384": "rsa", "RS512": "rsa", "PS256": "rsa", "PS384": "rsa", "PS512": "rsa",
    "ES256": "p256", "ES384": "p384", "ES512": "p521", "EdDSA": "ed25519",
}  # fmt: skip


@cache
def private_key(kind: str, number: int = 1) -> Any:
    """The `number`th key of a kind."""
    return {
        "rsa": lambda: rsa.generate_private_key(65537, 2048),
        "rsa1024": lambda: rsa.generate_private_key(65537, 1024),
        "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "p521": lambda: ec.generate_private_key(ec.SECP521R1()),
        "secp256k1": lambda: ec.generate_private_key(ec.SECP256K1()),
        "ed25519": ed25519.Ed25519PrivateKey.generate,
        "ed448": ed448.Ed448PrivateKey.generate,
    }[kind]()


def pem(kind: str, number: int = 1) -> str:
    key = private_key(kind, number).public_key()
    return str(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()).strip()


def jwk(kind: str, kid: str | None = None, number: int = 1, **more: object) -> dict[str, Any]:
    """The public key as a JWK."""
    reader = {"r": "RS256", "p": "ES256", "s": "ES256", "e": "EdDSA"}[kind[0]]
    made = get_default_algorithms()[reader].to_jwk(private_key(kind, number).public_key(), as_dict=True)
    made.pop("key_ops", None)
    return made | ({} if kid is None else {"kid": kid}) | more


def signed(algorithm: str, claims: dict[str, Any], *, number: int = 1, **header: object) -> str:
    key = SECRET if algorithm.startswith("HS") else private_key(KINDS[algorithm], number)
    return jwt.encode(claims, key, algorithm=algorithm, headers=header or None)


def good(**more: object) -> dict[str, Any]:
    return {"sub": "alice", "exp": int(time.time()) + 60} | more


def part(data: object) -> str:
    """A part of a token: bytes as they are, anything else as JSON."""
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
