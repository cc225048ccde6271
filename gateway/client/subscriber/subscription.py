"""One program's subscription: which stream it reads, from where, and when it comes back.

Rule: all that happens, happens within `__anext__` (or entering): there is no task. An event counts as given when it
is returned; everything else (connecting, waiting, a token's renewal) may be cancelled, and is taken up again by the
next call. The cursor is that of what was read whole; a reconnect starts there, so nothing is lost between.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable
from logging import INFO, WARNING
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ...errors import InvalidRequest, KeptAway, NoGateway, NotAllowed, NotAuthenticated
from ...event_stream import Event
from ..reporter import Reporter
from .backoff import Backoff
from .endings import Unavailable
from .events import Gap, State
from .inbox import Inbox
from .request import Credential

if TYPE_CHECKING:
    from aiohttp import ClientSession
    from yarl import URL

    from .http import HttpStream

HEARTBEATS = 2.5
"""Silence for so many of them is the end of a connection."""

RENEWED_WITHIN = (0.2, 0.7)
"""The part of a token's last seconds in which there is to be another."""

SETTLES_WITHIN = 0.5
"""Seconds in which a stream that only says when to retry has ended; without retention there is nothing else to read."""


class Subscription:
    """What `subscribe` gives: a context manager, and in it an iterator of events."""

    def __init__(
        self,
        url: URL,
        credential: Credential,
        *,
        last_event_id: str,
        silence: float | None,
        on_state: Callable[[State], object] | None,
        session: ClientSession | None,
    ) -> None:
        self._url = url
        self._credential = credential
        self._silence = silence
        self._on_state = on_state or (lambda state: None)
        self._session = session
        self._owns_session = session is None
        self._stream: HttpStream | None = None
        self._cursor = self._given = last_event_id
        self._inbox = Inbox()
        self._backoff = Backoff()
        self._not_before = 0.0
        self._renew_at = math.inf
        self._was_open = self._refused_once = self._ended = self._reading = False
        self._report = Reporter(time.monotonic)

    @property
    def last_event_id(self) -> str:
        """Where to begin again after the last event that was given: for `last_event_id` of a later subscription."""
        return self._given if self._inbox else self._cursor

    async def __aenter__(self) -> Self:
        from .http import new_session

        if self._session is None:
            self._session = new_session()
        try:
            while self._stream is None and not self._ended:
                await self._connect()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        if self._reading:
            raise RuntimeError("another task reads this subscription; have one read, and hand on what it gets")
        self._reading = True
        try:
            while not self._inbox:
                if self._ended:
                    raise StopAsyncIteration
                await (self._connect() if self._stream is None else self._read(self._stream))
        finally:
            self._reading = False
        event = self._inbox.take()
        if isinstance(event, Gap):
            self._report.failure(WARNING, "sse.gap", "history", requested=event.requested, oldest=event.oldest)
        self._given = event.last_event_id
        return event

    async def close(self) -> None:
        """Leave; the iteration ends. Idempotent."""
        self._end("closed by this program")
        self._inbox.clear()
        if self._owns_session and self._session is not None:
            await self._session.close()

    # Connecting

    async def _connect(self) -> None:
        """One try, when its time has come. Afterwards there is a stream, or there may be another try."""
        if (wait := self._not_before - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        self._on_state(State("connecting"))
        try:
            stream = await self._opened()
        except Unavailable as error:
            self._interrupted(str(error), error.retry_after)
        except KeptAway:
            self._end("the gateway keeps this user away (204)")
        except (NotAuthenticated, NotAllowed) as error:
            if self._refused_once or not self._credential.renewable:
                self._end(f"{error.status}: {error}")
                raise
            self._refused_once = True  # at once again, with another token
        except InvalidRequest as error:
            self._end(str(error))
            raise
        except NoGateway as error:  # a proxy may say so while gateways are exchanged behind it
            if not self._was_open:
                self._end(str(error))
                raise
            self._interrupted(str(error))
        else:
            self._stream, self._was_open, self._refused_once = stream, True, False
            self._backoff.succeeded()
            self._on_state(State("open"))

    async def _opened(self) -> HttpStream:
        """A stream that is more than a time to retry after, which is what a gateway without room answers."""
        from .http import open_stream

        assert self._session is not None, "a subscription is used with `async with`"
        if not self._credential.is_fresh:
            await self._renew_token()
        self._renew_at = math.inf
        stream = await open_stream(self._session, self._url, self._credential.headers(), last_event_id=self._cursor)
        try:
            async with asyncio.timeout(SETTLES_WITHIN):
                while not stream.parser.first_id:
                    await self._take(stream)
        except TimeoutError:
            pass
        except BaseException:
            stream.close()
            raise
        return stream

    async def _renew_token(self) -> bool:
        """Whether it is another now. What the program's function raises is the program's, until there was a stream."""
        try:
            return await self._credential.renew()
        except Exception as error:
            if not self._was_open:
                raise
            raise Unavailable(f"there is no token ({type(error).__name__})") from error

    # Reading

    async def _read(self, stream: HttpStream) -> None:
        now = asyncio.get_running_loop().time()
        if self._renew_at <= now:
            return await self._move_on()
        silence = self._silence or stream.heartbeat * HEARTBEATS
        silent_at = now + silence
        try:
            async with asyncio.timeout_at(min(self._renew_at, silent_at)):
                await self._take(stream)
        except TimeoutError:
            if silent_at <= self._renew_at:
                self._interrupted(f"nothing came for {silence:g} s, not even a heartbeat")
        except Unavailable as error:
            self._interrupted(str(error), error.retry_after)

    async def _take(self, stream: HttpStream) -> None:
        """What comes next, to those pending. Raises `Unavailable` when the stream has ended."""
        events = await stream.read()
        self._backoff.said(stream.parser.retry)
        if events is None:
            raise Unavailable("the gateway ended the stream")
        self._cursor = stream.parser.last_event_id
        if not self._given and not (events and events[0].id == stream.parser.first_id):
            self._given = stream.parser.first_id
        self._inbox.put(events)
        if self._inbox.token_left < math.inf:
            self._plan_renewal(self._inbox.token_left)
            self._inbox.token_left = math.inf

    def _plan_renewal(self, left: float) -> None:
        """Sometime before the token ends. Without a cursor the change would lose what comes meanwhile."""
        if self._credential.renewable and self._cursor:
            self._renew_at = asyncio.get_running_loop().time() + left * random.uniform(*RENEWED_WITHIN)

    async def _move_on(self) -> None:
        """To a stream with a new token, from the cursor on. With the same one there is nothing to be gained."""
        self._renew_at = math.inf
        try:
            if await self._renew_token():
                self._leave()
        except Unavailable as error:
            self._report.failure(WARNING, "sse.token_not_renewed", str(error))

    # Ending

    def _interrupted(self, reason: str, retry_after: float | None = None) -> None:
        level = WARNING if self._stream is None else INFO
        self._leave()
        if self._ended:
            return
        wait = self._backoff.wait(retry_after)
        self._not_before = time.monotonic() + wait
        self._report.failure(level, "sse.subscription_interrupted", reason, retry_in=round(wait, 1))
        self._on_state(State("waiting", reason, wait))

    def _end(self, reason: str) -> None:
        self._leave()
        if not self._ended:
            self._ended = True
            self._on_state(State("closed", reason))

    def _leave(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
