"""The deployment that is examined: where it is, who we are there, and how we listen and publish."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import jwt
from yarl import URL

from .. import channels
from ..client import address
from ..client.http import HttpTransport
from ..client.subscriber.http import new_session
from ..errors import BrokerUnavailable, GatewayError, InvalidEvent, NotAllowed
from ..events import SSEEvent
from .watch import Watch, now

PROBE = "doctor.probe"
PADDING = "doctor.padding"
NOTHING = "doctor.nothing"
"""An event type that is never published: a stream of it is quiet."""

EVENT_TTL = 60.0
PUBLISHED_WITHIN = 5.0
POLL = 0.02
PADDING_BYTES = 24_576
PADDINGS = 8
"""Together more than nginx's buffers for one answer (8 of 8 KB at most) and gzip's window hold."""


@dataclass(frozen=True, slots=True)
class Who:
    """Whom we listen as. `token` None and a `user` in development mode; `claims` are the token's, not verified."""

    token: str | None = field(default=None, repr=False)
    user: str | None = None
    claims: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of_token(cls, token: str) -> Who:
        """`ValueError` for what is no JWT."""
        try:
            claims = jwt.decode(token, options={"verify_signature": False})
            channels.user_id(claims.get("sub"))
        except (jwt.PyJWTError, InvalidEvent):
            raise ValueError("the token is no JWT with a user id as its sub; `gateway token` makes one") from None
        return cls(token, None, claims)

    @property
    def name(self) -> str:
        return self.user or str(self.claims["sub"])

    def may_read(self, topic: str) -> bool:
        """As far as it can be known here."""
        if self.token is None:
            return True
        topics = self.claims.get("topics")
        return isinstance(topics, list) and any(isinstance(t, str) and channels.matches(t, topic) for t in topics)


class Deployment:
    """`base` is what subscribers see; `publish_base` where publishers go, the same unless told. `run` is ours alone."""

    def __init__(self, base: str, who: Who, *, run: str, internal: str | None = None, key: str | None = None) -> None:
        """`ValueError`, naming which, for an address that cannot be one."""
        self.url = _address("URL", base)
        self.base = str(self.url).rstrip("/")
        self.internal = internal and str(_address("--internal", internal)).rstrip("/")
        self.who = who
        self.has_key = key is not None
        self.run = run
        self.session: aiohttp.ClientSession
        self._topic = f"doctor.{self.run}" if who.may_read(f"doctor.{self.run}") else None
        user = channels.user(who.name)
        self._channels = [channels.topic(self._topic), user] if self._topic else [user]
        self._transport = HttpTransport(self.internal or self.base, key)

    @property
    def host(self) -> str:
        return str(self.url.raw_host)

    @property
    def channel(self) -> str:
        """What is published to."""
        return self._channels[0]

    async def __aenter__(self) -> Deployment:
        self.session = new_session()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()
        await self._transport.close()

    # Listening

    def watch(self, *, gzip: bool = False, quiet: bool = False, cursor: str = "", in_query: bool = False) -> Watch:
        """A stream: as a browser asks (gzip), of nothing but heartbeats (quiet), from a cursor on."""
        headers = {"Accept-Encoding": "gzip, deflate, br" if gzip else "identity"}
        if self.who.token is not None:
            headers["Authorization"] = f"Bearer {self.who.token}"
        query = [("user", self.who.user)] if self.who.user is not None else []
        query += [("topic", self._topic)] if self._topic is not None else []
        query += [("types", NOTHING if quiet else f"{PROBE},{PADDING}")]
        if in_query:
            query.append(("last_event_id", cursor))
        url = self.streams.with_query(query)
        return Watch(self.session, url, headers, "" if in_query else cursor)

    @asynccontextmanager
    async def watches(self, count: int) -> AsyncIterator[list[Watch]]:
        async with AsyncExitStack() as stack:
            yield [await stack.enter_async_context(self.watch()) for _ in range(count)]

    @property
    def streams(self) -> URL:
        return self.url.with_path(self.url.raw_path.rstrip("/") + address.STREAMS, encoded=True)

    # Publishing

    async def publish(self, data: object, event_type: str = PROBE) -> float:
        """Publish to what is ours; the time at which it was sent. Raises `GatewayError`.

        A key that may not publish to the topic may perhaps to the user; from then on that is tried.
        """
        event, key = SSEEvent(event_type, data={"run": self.run, "n": data}, ttl=EVENT_TTL), secrets.token_hex(8)
        sent = now()
        try:
            async with asyncio.timeout(PUBLISHED_WITHIN):
                await self._transport.send(self.channel, event, key)
        except TimeoutError:
            raise BrokerUnavailable(f"no answer within {PUBLISHED_WITHIN:g} s") from None
        except NotAllowed:
            if len(self._channels) == 1:
                raise
            self._channels.pop(0)
            return await self.publish(data, event_type)
        return sent

    async def pad(self) -> None:
        """Events that fill whatever holds the stream back, and that cannot be compressed."""
        with contextlib.suppress(GatewayError):  # too large for this gateway: then there is no such push
            for _ in range(PADDINGS):
                await self.publish(secrets.token_urlsafe(PADDING_BYTES * 3 // 4), PADDING)


def _address(flag: str, text: str) -> URL:
    try:
        return address.checked(text)
    except ValueError as error:
        raise ValueError(f"{flag}: {error}") from None


def numbers(watch: Watch, run: str) -> list[int]:
    """The numbers of our probes, as they came."""
    return [number for number, _ in arrivals(watch, run)]


def arrivals(watch: Watch, run: str) -> list[tuple[int, float]]:
    found = []
    for arrival in watch.arrivals:
        if arrival.event.type == PROBE:
            match arrival.event.json():
                case {"run": str(whose), "n": int(number)} if whose == run:
                    found.append((number, arrival.at))
    return found


async def settled(condition: Callable[[], bool], within: float) -> bool:
    """Whether the condition came true within so many seconds."""
    deadline = now() + within
    while not condition():
        if now() > deadline:
            return False
        await asyncio.sleep(POLL)
    return True


def all_settled(watches: Sequence[Watch]) -> bool:
    return all(watch.is_settled for watch in watches)
