"""`GET /client.js`: the JavaScript client, for pages that import it from here and not from npm.

Rule: a browser keeps it for some minutes, then asks whether it has changed; after an upgrade no page is left with a
client of long ago. It holds nothing secret, so any cache may keep it.
"""

from __future__ import annotations

import gzip
import hashlib
from importlib import resources

from aiohttp import ETag, web

_MODULE = (resources.files(__package__) / "client" / "client.js").read_bytes()
_ZIPPED = gzip.compress(_MODULE, mtime=0)
_TAG = ETag(hashlib.sha256(_MODULE).hexdigest()[:16], is_weak=True)  # weak: one for both forms
_HEADERS = {"Cache-Control": "public, max-age=300", "Vary": "Accept-Encoding"}


def routes() -> list[web.RouteDef]:
    return [web.get("/client.js", client)]


async def client(request: web.Request) -> web.Response:
    if any(tag.value in (_TAG.value, "*") for tag in request.if_none_match or ()):
        response = web.Response(status=304, headers=_HEADERS)
    elif "gzip" in request.headers.get("Accept-Encoding", ""):
        response = web.Response(body=_ZIPPED, headers=_HEADERS | {"Content-Encoding": "gzip"})
    else:
        response = web.Response(body=_MODULE, headers=_HEADERS)
    if response.status == 200:
        response.content_type, response.charset = "text/javascript", "utf-8"
    response.etag = _TAG
    return response
