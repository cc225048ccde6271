"""The channel grammar, and the names of the Redis keys made from it.

    user:<id>      the events of one user
    broadcast      everyone's
    topic:<name>   whoever subscribed and may read it

Ids and names come from outside; a channel can only be made from ones that match the grammar, so a channel is
safe to put in a key, a log line or a header.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from uuid import UUID

from .errors import InvalidEvent

USER_ID = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9_.:@-]{1,128}", re.ASCII)
"""Not `.` or `..`: in a URL's path, proxies and libraries take those for directories."""

TOPIC = USER_ID
_GRAMMAR = "must be 1 to 128 of the characters A-Z a-z 0-9 _ . : @ - (and not . or ..)"

BROADCAST = "broadcast"
"""The channel every connection is on."""


def user_id(value: object, *, field: str = "user_id") -> str:
    """`value` (a `str` or `UUID`) as a user id; raises `InvalidEvent` naming `field`."""
    if isinstance(value, UUID):
        return UUID.__str__(value)
    if not isinstance(value, str) or USER_ID.fullmatch(value) is None:
        raise InvalidEvent(f"{_GRAMMAR}, or a UUID", field=field)
    return str.__str__(value)  # what was checked, whatever a subclass (an `Enum` member) says it is


def user(value: object) -> str:
    """The channel of a user."""
    return "user:" + user_id(value)


def topic(name: object) -> str:
    """The channel of a topic."""
    if not isinstance(name, str) or TOPIC.fullmatch(name) is None:
        raise InvalidEvent(_GRAMMAR, field="topic")
    return "topic:" + name


def kind(channel: str) -> str:
    """`user`, `broadcast` or `topic`: what metrics are labelled by."""
    return channel.partition(":")[0]


def partition(text: str, count: int) -> int:
    """Which of `count` partitions a channel's (or another name's) own is: CRC-32 as in zlib, of its ASCII, modulo."""
    return zlib.crc32(text.encode()) % count if count > 1 else 0


def matches(pattern: str, name: str) -> bool:
    """Whether a dotted `name` falls under `pattern`: exact, `*`, or `prefix.*`."""
    if pattern == "*":
        return True
    if pattern.endswith(".*"):
        return name.startswith(pattern[:-1])
    return pattern == name


@dataclass(frozen=True, slots=True)
class Keys:
    """The names in Redis under one prefix (see the table in docs/architecture.md)."""

    prefix: str

    @property
    def journal(self) -> str:
        return f"{self.prefix}:journal"

    @property
    def epoch(self) -> str:
        return f"{self.prefix}:epoch"

    @property
    def processes(self) -> str:
        return f"{self.prefix}:processes"

    @property
    def overloaded(self) -> str:
        return f"{self.prefix}:overloaded"

    @property
    def revocations(self) -> str:
        return f"{self.prefix}:revocations"

    @property
    def fleet(self) -> str:
        return f"{self.prefix}:fleet"

    @property
    def watched(self) -> str:
        return f"{self.prefix}:fleet:watched"

    def probe(self, instance: str) -> str:
        return f"{self.prefix}:probe:{instance}"

    def pubsub(self, channel: str) -> str:
        return f"{self.prefix}:{channel}"

    def history(self, channel: str) -> str:
        return f"{self.prefix}:history:{channel}"

    def last(self, channel: str) -> str:
        return f"{self.prefix}:last:{channel}"

    def registry(self, user_id: str) -> str:
        return f"{self.prefix}:registry:{user_id}"

    def ticket(self, digest: str) -> str:
        return f"{self.prefix}:ticket:{digest}"

    def dedupe(self, channel: str, key: str) -> str:
        # Channels and keys both may hold a colon; escaped in the key, the last one parts them for certain.
        escaped = key.replace("%", "%25").replace(":", "%3A")
        return f"{self.prefix}:dedupe:{channel}:{escaped}"
