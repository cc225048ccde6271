"""The console's files, read at start: no build step, nothing from elsewhere, and a policy that holds them to it."""

from __future__ import annotations

from hashlib import blake2b
from importlib import resources
from typing import NamedTuple

from aiohttp import web

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}


class _File(NamedTuple):
    body: bytes
    type: str
    etag: str


def _read() -> dict[str, _File]:
    files = {}
    for file in (resources.files(__package__) / "static").iterdir():
        if (type := TYPES.get(file.name.rpartition(".")[2])) is not None:
            body = file.read_bytes()
            files[file.name] = _File(body, type, blake2b(body, digest_size=12).hexdigest())
    return files


_FILES = _read()


def routes() -> list[web.RouteDef]:
    return [web.get("/console", page), web.get("/console/{file}", page)]


async def page(request: web.Request) -> web.Response:
    """A file of the console. A browser may keep it, but asks whether it is still the same."""
    file = _FILES.get(request.match_info.get("file", "index.html"))
    if file is None:
        raise web.HTTPNotFound
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache", "ETag": f'"{file.etag}"'}
    if any(etag.value == file.etag for etag in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    return web.Response(body=file.body, content_type=file.type, charset="utf-8", headers=headers)
