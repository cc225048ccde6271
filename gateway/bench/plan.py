"""What a run is to do. A `Plan` that exists can be carried out, as far as can be known before."""

from __future__ import annotations

import enum
import math
import ssl
from dataclasses import dataclass, field
from urllib.parse import urlencode

from yarl import URL

from .. import channels
from ..client import address
from ..errors import GatewayError
from ..events import SSEEvent

EVENT_TYPE = "bench.tick"
"""`gateway.` would keep strangers out for certain, but is the gateway's own; the run's id in the data does it."""

PROBE = -1
"""The number of the event that tries the way before the run."""

EVENT_TTL = 60.0
"""Seconds after which a client that comes back is not given a run's events any more."""


class CannotRun(GatewayError):
    """The run cannot begin; `detail` says why and what to do, in one line."""


class Target(enum.StrEnum):
    """Whom the events are for."""

    USERS = "users"
    """The subscribers' own users in turn, each event for one."""
    TOPIC = "topic"
    """A topic of the run's own: every event to every subscriber, and to nobody else."""
    BROADCAST = "broadcast"
    """Everyone who is connected, real users too."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a gateway is: `http://host:port`, perhaps with a path. `ValueError` for anything else."""

    base: str
    url: URL = field(init=False, repr=False)

    def __post_init__(self) -> None:
        url = address.checked(self.base)
        object.__setattr__(self, "url", url)
        object.__setattr__(self, "base", str(url).rstrip("/"))

    @property
    def host(self) -> str:
        return str(self.url.raw_host)

    @property
    def port(self) -> int:
        return int(self.url.port or 80)

    def tls(self) -> ssl.SSLContext | None:
        return ssl.create_default_context() if self.url.scheme == "https" else None


@dataclass(frozen=True, slots=True)
class Subscriber:
    """`token` is None in development mode, where the user's name alone will do."""

    user: str
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Plan:
    """`rate` is events a second, for `seconds`; one stream for each subscriber. `run` tells runs apart."""

    address: Address
    subscribers: tuple[Subscriber, ...]
    target: Target
    rate: float
    seconds: float
    run: str

    @property
    def events(self) -> int:
        return max(1, math.floor(self.rate * self.seconds + 0.5))

    @property
    def topic(self) -> str:
        return f"bench.{self.run}"

    def channel(self, user: str) -> str:
        """What is published to so that it reaches this user."""
        match self.target:
            case Target.USERS:
                return channels.user(user)
            case Target.TOPIC:
                return channels.topic(self.topic)
        return channels.BROADCAST

    def event(self, number: int) -> SSEEvent:
        return SSEEvent(EVENT_TYPE, data={"run": self.run, "n": number}, ttl=EVENT_TTL)

    def request(self, subscriber: Subscriber) -> bytes:
        """The request for a subscriber's stream.

        It does not ask for `text/event-stream`: a gateway without room then says so, instead of what an EventSource
        can bear. The user is named beside a token, since a gateway in development mode may not read tokens.
        """
        query = {"user": subscriber.user}
        if self.target is Target.TOPIC:
            query["topic"] = self.topic
        url = self.address.url
        head = [
            f"GET {url.raw_path.rstrip('/')}/v1/events?{urlencode(query)} HTTP/1.1",
            f"Host: {url.host_port_subcomponent}",
            "Accept: */*",
            "Accept-Encoding: identity",
            "User-Agent: gateway-bench",
        ]
        if subscriber.token is not None:
            head.append(f"Authorization: Bearer {subscriber.token}")
        return ("\r\n".join(head) + "\r\n\r\n").encode("ascii")
