"""GET of a JWK Set: the URL that was set, no other. No redirects, bounded in time and size, nothing kept between."""

from __future__ import annotations

import aiohttp

from ..auth.jwks import FetchFailed

WITHIN = 5.0
"""Seconds for a whole fetch."""
MOST_BYTES = 262_144
_PIECE = 16_384


async def fetch(url: str) -> bytes:
    """The document. Raises `FetchFailed`."""
    try:
        async with (
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=WITHIN),
                headers={"Accept": "application/jwk-set+json, application/json", "Accept-Encoding": "identity"},
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # a small answer cannot grow
            ) as session,
            session.get(url, allow_redirects=False) as response,
        ):
            if response.status != 200:
                raise FetchFailed("status", f"the endpoint answered {response.status}, and not 200")
            return await _body(response)
    except TimeoutError:
        raise FetchFailed("timeout", f"no whole answer within {WITHIN:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise FetchFailed("unreachable", f"the endpoint cannot be reached ({type(error).__name__})") from None


async def _body(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    while piece := await response.content.read(_PIECE):
        body += piece
        if len(body) > MOST_BYTES:
            raise FetchFailed("too_large", f"the answer is over {MOST_BYTES} bytes")
    return bytes(body)
