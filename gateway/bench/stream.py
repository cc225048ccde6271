"""One stream as a bare `asyncio.Protocol`: a client library for each of thousands would be most of what is measured."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Sequence
from typing import cast

from ..client import answers
from ..client.address import unreachable
from .plan import Address
from .wire import Broken, Item, Reader

OPEN_WITHIN = 10.0
MAX_HEAD = 65_536

Take = Callable[[Sequence[Item], float], None]


class NotOpened(Exception):
    """There is no stream. `status` is the answer's, None when there was none; the text is one line."""

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.status = status


class Stream(asyncio.Protocol):
    """`take` is called with what arrives and when (`perf_counter`), `ended` once when an opened stream ends."""

    def __init__(self, request: bytes, run: str, memory: dict[bytes, Sequence[Item]]) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.take: Take = lambda items, now: None
        self.ended: Callable[[], None] = lambda: None
        self._request = request
        self._run = run
        self._memory = memory
        self._head = b""
        self._reader: Reader | None = None
        self._transport: asyncio.Transport | None = None

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        if self._reader is None:
            data = self._answered(data)
        if self._reader is None:
            return
        try:
            if items := self._reader.feed(data):
                self.take(items, now)
            if self._reader.ended:
                self.close()
        except Broken:
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.opened.done():
            self._refuse(*_refusal(self._head) if self._head else ("the connection was closed without an answer", None))
        elif self._reader is not None:  # it was opened
            self.ended()

    def _answered(self, data: bytes) -> bytes:
        """Once the head is whole: what came after it. Sets the reader when the answer is a stream."""
        self._head += data
        head, end, body = self._head.partition(b"\r\n\r\n")
        if self.opened.done() or (not end and len(self._head) <= MAX_HEAD):
            return b""
        status, fields = _parse(head)
        if status == 200 and fields.get("content-type", "").partition(";")[0].strip() == "text/event-stream":
            chunked = "chunked" in fields.get("transfer-encoding", "").lower()
            self._reader = Reader(self._run, self._memory, chunked=chunked)
            self._head = b""
            self.opened.set_result(None)
            return body
        length = fields.get("content-length", "")
        if not length.isdecimal() or len(body) >= min(int(length), MAX_HEAD):
            self._refuse(*_refusal(self._head))
        return b""

    def _refuse(self, reason: str, status: int | None) -> None:
        self.opened.set_exception(NotOpened(reason, status))
        self.close()


async def open_stream(stream: Stream, address: Address, tls: ssl.SSLContext | None) -> None:
    """Returns when the gateway has answered 200. Raises `NotOpened`, and has closed the connection then."""
    try:
        async with asyncio.timeout(OPEN_WITHIN):
            await asyncio.get_running_loop().create_connection(lambda: stream, address.host, address.port, ssl=tls)
            await stream.opened
    except TimeoutError:
        stream.close()
        raise NotOpened(f"no answer within {OPEN_WITHIN:g} s") from None
    except OSError as error:
        raise NotOpened(unreachable(error)) from None


def _parse(head: bytes) -> tuple[int | None, dict[str, str]]:
    """The status and the fields, names in lower case; status None for what is not HTTP."""
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    status = rest[:3]
    fields = (line.partition(":") for line in lines)
    known = {name.strip().lower(): value.strip() for name, _, value in fields}
    return (int(status) if version.startswith("HTTP/") and status.isdecimal() else None), known


def _refusal(answer: bytes) -> tuple[str, int | None]:
    """An answer that is no stream, in one line: a problem's title and detail (RFC 9457) where there is one."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status, fields = _parse(head)
    if status is None:
        return "what answers does not speak HTTP", None
    kind = fields.get("content-type", "").partition(";")[0].strip()
    if any(said := answers.problem(kind, body)):
        return f"{status} {': '.join(filter(None, (said.title, said.detail)))}", status
    return f"{status} {kind or 'without a content type'}, not an event stream", status
