"""Tokens that must never be believed, made for a gateway that verifies with the first key of one algorithm."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

from auth.signing import KINDS, SECRET, jwk, part, pem, private_key, signed
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import get_default_algorithms

ALGORITHMS = get_default_algorithms()
ORDER_OF_P256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
REASONS = {
    "missing", "malformed", "algorithm", "unknown_key", "signature", "expired", "not_yet", "audience", "issuer",
    "claims", "no_key", "ticket", "user_header", "cross_site",
}  # fmt: skip
"""All that a refused credential is counted under, for subscribers."""


def fine(**more: Any) -> dict[str, Any]:
    """Claims that would be believed, of one who signs rightly (audience `app`, issuer `me`)."""
    return {"sub": "alice", "exp": int(time.time()) + 60, "aud": "app", "iss": "me"} | more


def key_of(algorithm: str, number: int = 1) -> Any:
    return SECRET.encode() if algorithm.startswith("HS") else private_key(KINDS[algorithm], number)


def forged(algorithm: str, header: object, payload: object, key: Any) -> str:
    """Signed as `algorithm` does with `key`, whatever the header claims."""
    content = f"{part(header)}.{part(payload)}"
    return f"{content}.{part(ALGORITHMS[algorithm].sign(content.encode(), key))}"


def evil(algorithm: str) -> dict[str, str]:
    """By what is wrong with each."""
    return (
        unsigned(algorithm) | confused(algorithm) | keys_of_its_own(algorithm) | mangled(algorithm) | claims(algorithm)
    ) | ({} if algorithm != "ES256" else signatures_of_es256())


def unsigned(algorithm: str) -> dict[str, str]:
    names = ["none", "None", "NONE", "nOnE", "", " none", "HS256 none"]
    tokens = {f"alg {name!r}": f"{part({'alg': name})}.{part(fine())}.{part(b'x')}" for name in names}
    tokens |= {f"alg {name!r}, no signature": f"{part({'alg': name})}.{part(fine())}." for name in names}
    head, body, _ = signed(algorithm, fine()).split(".")
    return tokens | {"no signature": f"{head}.{body}.", "two parts": f"{head}.{body}"}


def confused(algorithm: str) -> dict[str, str]:
    """Another algorithm in the header than the key is for, or than it was signed with."""
    tokens = {}
    for other in {*KINDS, "HS256", "HS384", "HS512"}:
        same_kind = KINDS.get(other, "hmac") == KINDS.get(algorithm, "hmac")
        if other != algorithm:
            tokens[f"signed as {algorithm}, said to be {other}"] = forged(
                algorithm, {"alg": other}, fine(), key_of(algorithm)
            )
        if not same_kind:
            tokens[f"signed and said to be {other}"] = signed(other, fine())
    tokens["alg ES256K"] = forged(algorithm, {"alg": "ES256K"}, fine(), key_of(algorithm))
    tokens["alg in lower case"] = forged(algorithm, {"alg": algorithm.lower()}, fine(), key_of(algorithm))
    tokens["alg is a list"] = forged(algorithm, {"alg": [algorithm]}, fine(), key_of(algorithm))
    tokens["no alg"] = forged(algorithm, {"typ": "JWT"}, fine(), key_of(algorithm))
    if algorithm in KINDS:
        text = pem(KINDS[algorithm])
        der = private_key(KINDS[algorithm]).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        secrets = {"PEM": text, "PEM with its line end": text + "\n", "PEM in CRLF": text.replace("\n", "\r\n")}
        for name, secret in {**secrets, "DER": der, "nothing": b""}.items():
            raw = secret if isinstance(secret, bytes) else secret.encode()
            for hmac in ("HS256", "HS512"):
                tokens[f"{hmac} with the public key as secret: {name}"] = forged(hmac, {"alg": hmac}, fine(), raw)
    else:
        tokens["HS256 with no secret"] = forged("HS256", {"alg": "HS256"}, fine(), b"")
    return tokens


def keys_of_its_own(algorithm: str) -> dict[str, str]:
    """Signed by somebody else, whose key the header brings along, or names in the words of other systems."""
    other = SECRET.encode()[::-1] if algorithm.startswith("HS") else key_of(algorithm, 2)
    public = {"kty": "oct", "k": part(other)} if algorithm.startswith("HS") else jwk(KINDS[algorithm], "x", number=2)
    headers: dict[str, Any] = {
        "another key": {},
        "jwk": {"jwk": public},
        "jku": {"jku": "https://evil.example/jwks.json", "kid": "x"},
        "x5u": {"x5u": "https://evil.example/chain.pem"},
        "x5c": {"x5c": ["MIIB"], "x5t": "AAAA"},
        "kid of a path": {"kid": "../../../../../../dev/null"},
        "kid of a query": {"kid": "x' UNION SELECT 'secret'; --"},
        "kid of a command": {"kid": "|/bin/true"},
        "kid of a URL": {"kid": "https://evil.example/jwks.json"},
        "kid with NUL": {"kid": "\0"},
        "kid that is long": {"kid": "k" * 3000},
        "kid that is empty": {"kid": ""},
        "kid that is no text": {"kid": "\ud800"},
        "kid that is a number": {"kid": 1},
        "kid that is a list": {"kid": ["x"]},
    }
    return {
        f"own key: {name}": forged(algorithm, {"alg": algorithm} | more, fine(), other)
        for name, more in headers.items()
    }


def mangled(algorithm: str) -> dict[str, str]:
    """The right key, but no JWT in signed, compact form, or one that can be read in two ways."""
    key, head = key_of(algorithm), {"alg": algorithm}
    token = signed(algorithm, fine())
    header, body, signature = token.split(".")
    rest = json_of(fine())[1:]
    unused_bits = base64.urlsafe_b64decode(signature + "==")
    last = next(
        (c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
         if c != signature[-1] and base64.urlsafe_b64decode(signature[:-1] + c + "==") == unused_bits),
        None,
    )  # fmt: skip
    raw: dict[str, bytes] = {
        "a claim twice": b'{"sub": "bob", %b' % rest,
        "exp twice": b'{"exp": 1, %b' % rest,
        "a name twice deep inside": b'{"a": [{"b": 1, "b": 2}], %b' % rest,
        "NaN": b'{"a": NaN, %b' % rest,
        "no UTF-8": b'{"a": "\xff", %b' % rest,
        "UTF-16": json.dumps(fine()).encode("utf-16"),
        "a byte order mark": b"\xef\xbb\xbf" + json.dumps(fine()).encode(),
        "two objects": json.dumps(fine()).encode() * 2,
        "a list": json.dumps([fine()]).encode(),
        "a token": token.encode(),
        "nothing": b" ",
        "deep": b'{"a":' * 2000,
        "a number without end": b'{"a": ' + b"9" * 5000 + b", " + rest,
    }
    return {
        **{f"claims: {name}": forged(algorithm, head, payload, key) for name, payload in raw.items()},
        "alg twice": forged(algorithm, b'{"alg": "none", "alg": "%b"}' % algorithm.encode(), fine(), key),
        "header is a list": forged(algorithm, [algorithm], fine(), key),
        "nested": forged(algorithm, head | {"cty": "JWT"}, token.encode(), key),
        "crit": forged(algorithm, head | {"crit": ["b64"], "b64": False}, fine(), key),
        "crit that is empty": forged(algorithm, head | {"crit": []}, fine(), key),
        "crit of what is known": forged(algorithm, head | {"crit": ["exp"], "exp": 1}, fine(), key),
        "detached": f"{header}..{signature}",
        "encrypted": ".".join([part({"alg": "dir", "enc": "A256GCM"}), "", part(b"iv"), part(b"text"), part(b"tag")]),
        "JSON form": json.dumps({"protected": header, "payload": body, "signature": signature}),
        "padded": f"{header}.{body}.{signature}=",
        "padded header": f"{header}=.{body}.{signature}",
        "a space inside": f"{header}. {body}.{signature}",
        "a line end inside": f"{header}.{body}.{signature[:5]}\n{signature[5:]}",
        "other alphabets": f"{header}.{body}.{signature[:-2]}é€",
        "fullwidth": f"{header}.{body}.\uff21{signature[1:]}",
        "cut": token[:-4],
        "prolonged": token + "AAAA",
        "another's claims": f"{header}.{part(fine(sub='bob'))}.{signature}",
        "another's header": f"{part(head | {'kid': 'x'})}.{body}.{signature}",
        "huge": forged(algorithm, head, fine(pad="x" * 20_000), key),
        "garbage": "garbage",
        "dots": "..",
        "many dots": "." * 1000,
        "quoted": f'"{token}"',
    } | ({} if last is None else {"another spelling": f"{header}.{body}.{signature[:-1]}{last}"})


def claims(algorithm: str) -> dict[str, str]:
    """The right key; what it says is not what a token of this gateway must say (audience `app`, issuer `me`)."""
    now, good = time.time(), fine()
    bad: dict[str, dict[str, Any]] = {
        "no exp": {"sub": "alice"},
        "no sub": {"exp": now + 60},
        "expired": good | {"exp": now - 0.5},
        "expired long ago": good | {"exp": 0},
        "exp before the epoch": good | {"exp": -1},
        "exp in a string": good | {"exp": str(now + 60)},
        "exp is true": good | {"exp": True},
        "exp is null": good | {"exp": None},
        "exp beyond any float": good | {"exp": 10**400},
        "nbf ahead": good | {"nbf": now + 60},
        "nbf in a string": good | {"nbf": "0"},
        "nbf is true": good | {"nbf": True},
        "nbf is null": good | {"nbf": None},
        "iat ahead": good | {"iat": now + 60},
        "sub is a number": good | {"sub": 42},
        "sub is a list": good | {"sub": ["alice"]},
        "sub is null": good | {"sub": None},
        "no aud": {"sub": "alice", "exp": now + 60, "iss": "me"},
        "another aud": good | {"aud": "other"},
        "aud that begins alike": good | {"aud": "app2"},
        "aud that is a part": good | {"aud": "ap"},
        "aud in another case": good | {"aud": "APP"},
        "aud of others": good | {"aud": ["other", "ap"]},
        "aud is an object": good | {"aud": {"app": True}},
        "aud is a text that holds it": good | {"aud": "other app"},
        "no iss": {"sub": "alice", "exp": now + 60, "aud": "app"},
        "another iss": good | {"iss": "you"},
        "iss is a list": good | {"iss": ["me"]},
        "iss that is a part": good | {"iss": "m"},
        "iss with a slash more": good | {"iss": "me/"},
    }
    head = {"alg": algorithm}
    return {f"claims: {name}": forged(algorithm, head, json_of(said), key_of(algorithm)) for name, said in bad.items()}


def json_of(value: object) -> bytes:
    return json.dumps(value).encode()


def signatures_of_es256() -> dict[str, str]:
    """What is no pair of 32-byte numbers within the curve's order. (The second root of ECDSA, n - s, verifies for
    everybody, as the standard has it; it says the same in other letters and proves nothing less.)"""
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    token = signed("ES256", fine())
    content, _, signature = token.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    pairs = {
        "zeros": bytes(64),
        "r is zero": bytes(32) + raw[32:],
        "s is zero": raw[:32] + bytes(32),
        "the order": ORDER_OF_P256.to_bytes(32, "big") * 2,
        "ones": (b"\0" * 31 + b"\1") * 2,
        "all bits": b"\xff" * 64,
        "exchanged": raw[32:] + raw[:32],
        "DER": encode_dss_signature(r, s),
        "r in 33 bytes": b"\0" + raw,
        "both in 33 bytes": b"\0" + raw[:32] + b"\0" + raw[32:],
        "half": raw[:32],
        "63 bytes": raw[:-1],
        "65 bytes": raw + b"\0",
        "twice": raw * 2,
        "s + n": raw[:32] + ((s + ORDER_OF_P256) % 2**256).to_bytes(32, "big"),
    }
    return {f"signature: {name}": f"{content}.{part(value)}" for name, value in pairs.items()}
