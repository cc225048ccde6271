"""A stream over HTTP, read with aiohttp: one connection, from its request to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import aiohttp
from yarl import URL

from ...errors import InvalidRequest, KeptAway, NoGateway, NotAllowed, NotAuthenticated
from ...event_stream import Endless, Event, EventStreamParser
from .. import answers
from ..http import in_words
from .endings import Unavailable

ANSWERS_WITHIN = 15.0
"""Seconds from dialling to the answer's head. A gateway whose broker is away takes two."""

ASKS = {"Accept": "*/*", "Accept-Encoding": "identity"}
"""Not `text/event-stream`: a gateway without room then says so, instead of what an EventSource can bear."""

HEARTBEAT = 15.0
MOST_HEARTBEAT = 3600.0

_REFUSALS = {error.status: error for error in (InvalidRequest, NotAuthenticated, NotAllowed)}


class HttpStream:
    """An answer that is an event stream."""

    def __init__(self, response: aiohttp.ClientResponse, parser: EventStreamParser) -> None:
        self.response = response
        self.parser = parser

    @property
    def heartbeat(self) -> float:
        """Seconds between two, as the gateway says; its default where it does not."""
        try:
            said = float(self.response.headers.get("Heartbeat-Interval", ""))
        except ValueError:
            return HEARTBEAT
        return said if 0 < said < MOST_HEARTBEAT else HEARTBEAT

    async def read(self) -> list[Event] | None:
        """The events in what has come by now, or comes next; perhaps none. None when the stream has ended.

        Nothing is lost when this is cancelled. Raises `Unavailable` when the connection broke.
        """
        try:
            data = await self.response.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(in_words(error)) from None
        try:
            return self.parser.feed(data) if data else None
        except Endless as error:
            raise Unavailable(str(error)) from None

    def close(self) -> None:
        self.response.close()


def new_session() -> aiohttp.ClientSession:
    # Cookies would tie a program to one pod behind a balancer, and here they are credentials.
    return aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())


async def open_stream(
    session: aiohttp.ClientSession, url: URL, headers: Mapping[str, str], *, last_event_id: str = ""
) -> HttpStream:
    """Returns when the gateway has answered 200 with a stream.

    Raises `Unavailable`, `KeptAway`, `NoGateway` (also for a certificate that does not verify), and the error of the
    status for 400, 401 and 403.
    """
    sent = {**ASKS, **headers}
    if last_event_id:
        sent["Last-Event-ID"] = last_event_id
    timeout = aiohttp.ClientTimeout(total=None)
    try:
        async with asyncio.timeout(ANSWERS_WITHIN):
            response = await session.get(
                url, headers=sent, allow_redirects=False, raise_for_status=False, timeout=timeout
            )
            try:
                await _check(response)
            except BaseException:
                response.close()
                raise
    except TimeoutError:
        raise Unavailable(f"no answer within {ANSWERS_WITHIN:g} s") from None
    except aiohttp.ClientConnectorCertificateError as error:
        raise NoGateway(f"{in_words(error)}; name its authority in SSL_CERT_FILE") from None
    except (aiohttp.ClientError, OSError) as error:
        raise Unavailable(in_words(error)) from None
    return HttpStream(response, EventStreamParser(last_event_id=last_event_id))


async def _check(response: aiohttp.ClientResponse) -> None:
    status, kind = response.status, response.content_type
    if status == 200 and kind == "text/event-stream":
        return
    if status == 204:
        raise KeptAway("204: this user is kept away")
    said = answers.problem(response.headers.get("Content-Type"), await response.content.read(answers.MAX_BYTES))
    if (refusal := _REFUSALS.get(status)) is not None:
        raise refusal(said.why or f"HTTP {status}")
    if status >= 500 or status in (408, 429):
        why = said.why or response.reason or "no reason given"
        raise Unavailable(f"{status}: {why}", answers.retry_after(response.headers.get("Retry-After")))
    if 300 <= status < 400 and "Location" in response.headers:
        raise NoGateway(f"{status}: it redirects to {_origin(response)}; subscribe there, if that is the gateway")
    raise NoGateway(f"{status} {said.why or kind}, and no event stream: is it the gateway's address?")


def _origin(response: aiohttp.ClientResponse) -> str:
    """Of the place that an answer redirects to; its path and query may hold anything."""
    try:
        return str(response.url.join(URL(response.headers["Location"])).origin())
    except ValueError:
        return "somewhere"
