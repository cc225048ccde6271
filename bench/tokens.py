"""What a token costs: µs of CPU for one that is verified, by algorithm, and for one that is remembered.

    python bench/tokens.py

The best of `ROUNDS`, since whatever else runs only adds. `jwt.decode` is beside it for comparison.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from gateway.auth import keys
from gateway.auth.identity import Subscriber
from gateway.auth.keyring import FixedKeys
from gateway.auth.remembering import Remembering
from gateway.auth.verifier import Verifier

ROUNDS = 7
CALLS = 2_000
SECRET = "0123456789abcdef" * 4


def main() -> None:
    claims = {"sub": "user-42", "iat": int(time.time()), "exp": int(time.time()) + 3600, "topics": ["orders.*", "news"]}
    print(f"{'algorithm':10} {'verified':>10} {'remembered':>11} {'jwt.decode':>11}   µs of CPU a token")
    for algorithm, private in signers().items():
        verified, remembered, decoded = costs(claims, algorithm, private)
        print(f"{algorithm:10} {verified:10.1f} {remembered:11.1f} {decoded:11.1f}")


def costs(claims: dict[str, Any], algorithm: str, private: Any) -> tuple[float, float, float]:
    """Of a token that is verified, of one that is remembered, and of one that `jwt.decode` verifies."""
    token = jwt.encode(claims, private, algorithm=algorithm)
    public = private if isinstance(private, str) else private.public_key()
    key = keys.of_secret(public) if isinstance(public, str) else keys.of_public(public)
    verifier = Verifier(FixedKeys([key]))
    remembering = Remembering(verifier, Subscriber.of)
    return (
        per_call(lambda: finished(verifier.claims(token))),
        per_call(lambda: finished(remembering.believe(token))),
        per_call(lambda: jwt.decode(token, public, algorithms=[algorithm])),
    )


def signers() -> dict[str, Any]:
    large = rsa.generate_private_key(65537, 2048)
    return {
        "HS256": SECRET,
        "RS256": large,
        "PS256": large,
        "ES256": ec.generate_private_key(ec.SECP256R1()),
        "EdDSA": ed25519.Ed25519PrivateKey.generate(),
    }


def finished(work: Any) -> None:
    """Run a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration:
        return
    raise AssertionError("it waited")


def per_call(work: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(CALLS):
            work()
        best = min(best, time.process_time() - began)
    return best / CALLS * 1e6


if __name__ == "__main__":
    main()
