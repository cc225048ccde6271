"""Where a gateway is, as people write it: `http://host:port`, perhaps with a path."""

from __future__ import annotations

import os
import ssl

from yarl import URL

STREAMS = "/v1/events"
_EXPECTED = "expected the gateway's address, such as http://127.0.0.1:8080"


def checked(text: str) -> URL:
    """The address, without a slash at its end; that of the streams is taken for the gateway's. `ValueError` if bad.

    An error never repeats the text, which may hold a password.
    """
    try:
        url = URL(text.strip())
    except ValueError:
        raise ValueError(_EXPECTED) from None
    if url.scheme not in ("http", "https") or not url.raw_host:
        raise ValueError(_EXPECTED)
    if url.user is not None or url.password is not None:
        raise ValueError("must not hold credentials; keys and tokens are given by themselves")
    if url.raw_query_string or url.raw_fragment:
        raise ValueError("must have neither a query nor a fragment")
    return url.with_path(url.raw_path.removesuffix("/").removesuffix(STREAMS).rstrip("/"), encoded=True)


def base(text: str) -> str:
    """The address as text to which a path can be added."""
    return str(checked(text)).rstrip("/")


def unreachable(error: OSError) -> str:
    """Why nobody could be reached there, in few words: asyncio's own hold every address that was tried."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate does not verify ({error.verify_message})"
    if error.errno is not None and error.errno > 0 and not isinstance(error, ssl.SSLError):
        return f"cannot connect ({os.strerror(error.errno)})"
    return f"cannot connect ({' '.join(str(error.strerror or error).split())})"
