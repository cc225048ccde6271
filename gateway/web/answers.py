"""Publishers' answers: `202` with JSON, made ready as one piece of bytes.

A `web.Response` gathers its headers in a dictionary, completes them and writes them out, which costs more than
validating the event. All answers here have the same ones; HTTP/1.0, a connection that ends, and a web page of
another origin (CORS) have it their way.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from email.utils import formatdate
from functools import lru_cache

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.web import BaseRequest

from ..broker.base import Receipt
from . import request_ids
from .headers import ALWAYS, SERVER

_ALWAYS = "".join(f"{name}: {value}\r\n" for name, value in ALWAYS.items())


def taken(
    request: web.Request, receipts: Sequence[Receipt], *, batch: bool, fields: Mapping[str, str]
) -> web.StreamResponse:
    """What became of each event: its id, and how many processes had somebody on its channel; `fields` besides."""
    items = [_item(receipt) for receipt in receipts]
    body = f"[{', '.join(items)}]" if batch else items[0]
    if request.keep_alive and request.version == HttpVersion11 and "Origin" not in request.headers:
        return _Ready(body, fields, request_ids.of(request))
    return web.Response(status=202, text=body, content_type="application/json", headers=fields)


def _item(receipt: Receipt) -> str:
    if receipt.id is None:
        return f'{{"id": null, "receivers": {receipt.receivers}}}'
    return f'{{"id": "{receipt.id}", "receivers": {receipt.receivers}}}'


class _Ready(web.StreamResponse):
    """To be sent once, on a connection that stays open."""

    _writer: AbstractStreamWriter

    def __init__(self, body: str, fields: Mapping[str, str], request_id: str) -> None:
        super().__init__(status=202)
        more = "".join([f"{name}: {value}\r\n" for name, value in fields.items()]) if fields else ""
        more += f"{request_ids.HEADER}: {request_id}\r\n"
        self._answer = f"{_head(int(time.time()))}{more}Content-Length: {len(body)}\r\n\r\n{body}"

    @property
    def keep_alive(self) -> bool:
        return True

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter:
        self._writer = request.writer
        return self._writer

    async def write_eof(self, data: bytes = b"") -> None:
        await self._writer.write_eof(self._answer.encode())


@lru_cache(1)
def _head(now: int) -> str:
    """The status line and the headers that are the same for a second."""
    return (
        "HTTP/1.1 202 Accepted\r\n"
        "Content-Type: application/json; charset=utf-8\r\n"
        f"Date: {formatdate(now, usegmt=True)}\r\n"
        f"Server: {SERVER}\r\n{_ALWAYS}"
    )
