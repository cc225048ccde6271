"""Reading a JWT in the compact form of RFC 7515, strictly: what is read here is not verified yet.

Own code, and not `jwt.decode`: that prepares the key anew for each token, and reads what it is lenient about (padding,
a name twice). Signatures are PyJWT's and cryptography's all the same, in `keys.py`.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from typing import Any, NoReturn

from ..errors import NotAuthenticated

LONGEST = 16_384
"""Characters of a token; a header line is shorter (aiohttp takes 8,190 bytes)."""

_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")


@dataclass(frozen=True, slots=True)
class Unverified:
    """A token's parts. Of the header only what chooses a key is taken; a key or an address in it is not looked at."""

    algorithm: str
    kid: str | None
    payload: bytes
    signed: bytes
    signature: bytes


def read(token: str) -> Unverified:
    """Raises `NotAuthenticated` for what is no JWT in signed, compact form."""
    parts = _COMPACT.fullmatch(token) if len(token) <= LONGEST else None
    if parts is None:
        raise malformed("is not three parts of base64url with dots between")
    header = json_object(_decoded(parts[1]))
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str):
        raise malformed("names no algorithm")
    if kid is not None and not isinstance(kid, str):
        raise malformed("has a kid that is no string")
    if "crit" in header:  # RFC 7515, section 4.1.11: what is not understood is not accepted, and no extension is
        raise malformed("has critical headers, and none is supported")
    signed = token[: parts.end(2)].encode("ascii")
    return Unverified(algorithm, kid, _decoded(parts[2]), signed, _decoded(parts[3]))


def json_object(data: bytes) -> dict[str, Any]:
    """The JSON object that a part of a token holds. No name twice (RFC 7519, section 4), no NaN."""
    try:
        value = _JSON.decode(data.decode("utf-8"))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise malformed("does not hold JSON objects, or one that has a name twice")
    return value


def malformed(why: str) -> NotAuthenticated:
    return NotAuthenticated(f"the token {why}", reason="malformed")


def _decoded(part: str) -> bytes:
    """One spelling only: bits that no byte needs must be zero, so that a token cannot be written in another way."""
    decoded = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) if len(part) % 4 != 1 else b""
    if base64.urlsafe_b64encode(decoded).rstrip(b"=") != part.encode("ascii"):
        raise malformed("is not base64url in its one spelling")
    return decoded


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_JSON = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)
