"""What a request is called in its answer, in the log lines about it, and by whoever sent it or stands before.

Rule: a name that was sent is kept when it can be written anywhere as it is; else one is made. It identifies and
proves nothing: whoever asks may choose it.
"""

from __future__ import annotations

import re
from random import getrandbits

from aiohttp import web

HEADER = "X-Request-Id"
_SANE = re.compile(r"[A-Za-z0-9._-]{1,64}")
_KEY = web.RequestKey("request_id", str)


def of(request: web.Request) -> str:
    """The same however often it is asked for."""
    found = request.get(_KEY)
    if found is None:
        sent = request.headers.get(HEADER)
        found = sent if sent is not None and _SANE.fullmatch(sent) else f"{getrandbits(64):016x}"
        request[_KEY] = found
    return found
