"""How each kind of setting is written, and which values it takes.

A `Kind` turns what an environment variable, a flag or a TOML file holds into a value, or raises `Refused`
with what it expected instead. That text never repeats what was given, which may be a secret.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any
from urllib.parse import unquote

from .channels import TOPIC, USER_ID

HIDDEN = "********"

_SCOPE = re.compile(
    rf"\*|broadcast|user:(\*|{USER_ID.pattern})|topic:(\*|{TOPIC.pattern}|{TOPIC.pattern}\.\*)", re.ASCII
)
_SCOPES = "*, broadcast, user:*, user:<id>, topic:*, topic:<prefix>.* or topic:<name>"
_OPTION = re.compile(r"([?&][^=&]*=)([^&]*)")
_VISIBLE = re.compile(r"[!-~]+")


class Refused(ValueError):
    """A value that is not taken. The text is what was expected, and never holds the value."""


@dataclass(frozen=True, slots=True)
class Kind:
    """`read` makes a value of text and `accepts` judges it; either may raise `ValueError` to refuse.

    `unit` is what a number counts. `listed`: commas separate items, and TOML may give a list.
    """

    read: Callable[[str], Any]
    expected: str
    accepts: Callable[[Any], bool] = lambda value: True
    unit: str = ""
    listed: bool = False

    def parse(self, given: object) -> Any:
        """`given` as text, or as the type that TOML has for it, made a value."""
        try:
            value = self.read(self._text(given))
            if self.accepts(value):
                return value
        except Refused:
            raise
        except ValueError:
            pass
        raise Refused(self.expected)

    def _text(self, given: object) -> str:
        match given:
            case str():
                return given
            case bool():
                return "on" if given else "off"
            case int() | float():
                return str(given)
            case list() if self.listed and all(isinstance(item, str) for item in given):
                return ",".join(given)
        raise Refused(self.expected)


@dataclass(frozen=True, slots=True)
class PublishKey:
    """What a publisher shows. `scopes` are the channels it may publish to, `("*",)` for all of them."""

    name: str
    key: str = field(repr=False)
    scopes: tuple[str, ...] = ("*",)

    def __post_init__(self) -> None:
        if not _VISIBLE.fullmatch(self.name) or not _VISIBLE.fullmatch(self.key):
            raise Refused("a name and a key of visible ASCII characters")
        for number, scope in enumerate(self.scopes, 1):
            if not is_scope(scope):
                raise Refused(f"scope {number} to be one of {_SCOPES}")


def is_scope(text: str) -> bool:
    """Whether `text` names channels to publish to, as in `user:*` or `topic:orders.*`."""
    return _SCOPE.fullmatch(text) is not None


def hide_password(url: str) -> str:
    """`url` for people to read: without the password in its authority or its query.

    It may be none that can be used, and then nobody knows where its password ends: rather too much is hidden.
    """
    url = _OPTION.sub(lambda option: option[1] + HIDDEN if "password" in unquote(option[1]) else option[0], url)
    scheme, separator, rest = url.partition("://") if "://" in url else ("", "", url)
    credentials, at, address = rest.rpartition("@")
    user, colon, _ = credentials.partition(":")
    shown = f"{user}:{HIDDEN}" if colon else HIDDEN if credentials else ""
    return f"{scheme}{separator}{shown}{at}{address}"


def whole(low: int, high: int | None = None, unit: str = "") -> Kind:
    bounds = f"of {low} or more" if high is None else f"from {low} to {high}"
    return Kind(int, f"a whole number {bounds}", lambda n: low <= n <= (n if high is None else high), unit)


def number(unit: str, *, zero: bool = False) -> Kind:
    """A float above 0, or of `zero` and above."""
    if zero:
        return Kind(float, "a number of 0 or more", lambda n: 0 <= n < math.inf, unit)
    return Kind(float, "a number greater than 0", lambda n: 0 < n < math.inf, unit)


def text(pattern: str, expected: str) -> Kind:
    return Kind(str.strip, expected, lambda value: re.fullmatch(pattern, value) is not None)


def choice(*names: str) -> Kind:
    return Kind(lambda given: given.strip().lower(), " or ".join(names), lambda value: value in names)


def url(*schemes: str) -> Kind:
    def accepts(value: str) -> bool:
        scheme, separator, rest = value.partition("://")
        return scheme in schemes and bool(separator) and (bool(rest) or scheme == "memory")

    return Kind(str.strip, "a URL that starts with " + ", ".join(f"{s}://" for s in schemes), accepts)


def listed(item: Callable[[str], Any], expected: str, accepts: Callable[[Any], bool] = lambda values: True) -> Kind:
    return Kind(lambda given: tuple(map(item, _split(given))), expected, accepts, listed=True)


def _split(given: str) -> list[str]:
    return [item.strip() for item in re.split(r"[,\n]", given) if item.strip()]


def _switch(given: str) -> bool:
    word = given.strip().lower()
    if word not in ("on", "true", "yes", "1", "off", "false", "no", "0"):
        raise ValueError
    return word in ("on", "true", "yes", "1")


def _publish_keys(given: str) -> tuple[PublishKey, ...]:
    """A line that begins with `#` and a space is for people: in a file one notes what a key is for."""
    given = re.sub(r"(?m)^[ \t]*#([ \t].*)?$", "", given)
    keys = tuple(_publish_key(number, entry) for number, entry in enumerate(_split(given), 1))
    if len({key.key for key in keys}) < len(keys):
        raise Refused("each key only once")
    return keys


def _publish_key(number: int, entry: str) -> PublishKey:
    try:
        match entry.split(":", 2):
            case [key]:
                return PublishKey(f"key-{number}", key)
            case [name, key, scopes]:
                return PublishKey(name, key, tuple(scopes.split("|")))
        raise Refused("`key` or `name:key:scopes`")
    except Refused as error:
        raise Refused(f"{error} (entry {number})") from None


def _origins_accepted(origins: tuple[str, ...]) -> bool:
    return origins == ("*",) or all(re.fullmatch(r"[a-z][a-z0-9+.-]*://[^\s/?#@*]+", o) for o in origins)


PORT = whole(1, 65535)
ANY_PORT = whole(0, 65535)
COUNT = whole(1)
COUNT_OR_0 = whole(0)
PARTITIONS = whole(1, 512)
BYTES = whole(1, unit="bytes")
BYTES_OR_0 = whole(0, unit="bytes")
SECONDS = number("seconds")
SECONDS_OR_0 = number("seconds", zero=True)
RATE = number("", zero=True)
RETRY = whole(1, unit="milliseconds")
WINDOW = number("milliseconds", zero=True)
SWITCH = Kind(_switch, "on or off")
WORD = text(r"\S+", "a value without spaces")
PATH = text(r"[^\0]+", "the path of a file")
HOST = text(r"[^\s/]+", "a host name or an address to listen on")
PREFIX = text(r"[A-Za-z0-9_.:-]{1,64}", "1 to 64 of the characters A-Z a-z 0-9 _ . : -")
HEADER = text(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", "the name of a header, such as X-User-Id")
KEY = text(_VISIBLE.pattern, "visible ASCII characters only")
LONG_KEY = text(r"[!-~]{16,}", "16 or more visible ASCII characters, as from `openssl rand -hex 24`")
HMAC_SECRET = Kind(str, "32 bytes or more, as from `openssl rand -hex 32`", lambda s: len(s.encode()) >= 32)
PEM = Kind(
    # One-line environment files write the line ends of a PEM as \n.
    lambda given: given.replace("\\n", "\n").strip(),
    "a public key in PEM form (-----BEGIN PUBLIC KEY-----)",
    lambda value: re.match(r"-----BEGIN ([A-Z]+ )?PUBLIC KEY-----", value) is not None,
)
ALGORITHMS = listed(
    str,
    "EdDSA, or HS, RS, PS or ES with 256, 384 or 512, such as ES256; with commas between",
    lambda names: all(re.fullmatch(r"(HS|RS|PS|ES)(256|384|512)|EdDSA", name) for name in names),
)
NETWORKS = listed(ip_network, "addresses or networks such as 10.0.0.0/8, with commas between")
ORIGINS = listed(
    str.lower,
    "origins such as https://app.example.com (no path, no final slash), with commas between, or * alone",
    _origins_accepted,
)
PUBLISH_KEYS = Kind(_publish_keys, "`key` or `name:key:scopes`, with commas between", listed=True)
