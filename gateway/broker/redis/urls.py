"""What a broker URL says, and as whom it says to come: read once, when the process starts.

    redis://user:password@host:6379/0      rediss:// is the same over TLS
    unix:///run/redis.sock
    redis+sentinel://user:password@h1:26379,h2:26379/service/0     rediss+sentinel://
    redis+cluster://user:password@h1:7000,h2:7001                  rediss+cluster://

An error never repeats what was given: of a password with a / in it half stands where a port is looked for. It does
name the setting at fault, in `field`.
"""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

from ...errors import GatewayError

SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
FORMS = {
    "unix": "unix://user:password@/path/of/the.sock",
    "sentinel": "://user:password@host:26379,host:26379/service/database",
    "cluster": "://user:password@host:6379,host:6379",
    "": "://user:password@host:port/database",
}
OPTIONS = ("db", "username", "password", "sentinel_username", "sentinel_password")
TLS_OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname")
DEFAULT_PORT, SENTINEL_PORT = 6379, 26379

_HOST = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\s\[\]:,/@?#%]+)?(?::([0-9]{1,5}))?", re.ASCII)


class BrokerUrlError(GatewayError, ValueError):
    """A broker URL, or what goes with it, that cannot be used. `field` names the setting when it is not the URL."""


class Login(NamedTuple):
    """As whom to come; an empty password is none, an empty name Redis' `default`."""

    username: str = ""
    password: str = ""

    def __repr__(self) -> str:
        return f"Login({self.username!r})"


class Files(NamedTuple):
    """Paths of PEM files for TLS: who is trusted (the system's list if nobody is named), and who we are."""

    ca: str | None = None
    certificate: str | None = None
    key: str | None = None


NO_FILES = Files()


NOBODY = Login()


@dataclass(frozen=True, slots=True)
class Target:
    """A broker URL, read. `hosts` are the sentinels' of a `service`, or some of the nodes of a `cluster`; a `path` is a
    Unix socket's."""

    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    service: str = ""
    cluster: bool = False
    db: int = 0
    login: Login = NOBODY
    sentinel_login: Login = NOBODY
    tls: ssl.SSLContext | None = field(default=None, repr=False)


def read(url: str, files: Files = NO_FILES) -> Target:
    """Raises `BrokerUrlError`."""
    scheme, separator, rest = url.partition("://")
    if scheme not in SCHEMES or not separator:
        known = ", ".join(f"{known}://" for known in SCHEMES)
        given = f"{scheme}://" if separator and re.fullmatch(r"[a-z+.-]{1,20}", scheme) else "what it begins with"
        raise BrokerUrlError(f"{given} is not supported by this version; use one of memory://, {known}")
    kind = "unix" if scheme == "unix" else scheme.partition("+")[2]
    try:
        return _target(scheme, kind, rest, files)
    except BrokerUrlError:
        raise
    except ValueError:
        form = FORMS[kind] if kind == "unix" else scheme + FORMS[kind]
        escaped = "; in a password, / # ? @ and % are written %2F %23 %3F %40 %25"
        raise BrokerUrlError(f"expected the form {form}{escaped}") from None


def _target(scheme: str, kind: str, rest: str, files: Files) -> Target:
    rest, _, query = rest.partition("?")
    credentials, _, address = rest.rpartition("@")
    if "#" in rest + query or "@" in credentials or "/" in credentials:
        raise ValueError
    secure = scheme.startswith("rediss")
    options = _options(query, kind, secure)
    username, _, password = credentials.partition(":")
    login = Login(options.get("username") or unquote(username), options.get("password") or unquote(password))
    tls = _context(_files(options, files), options) if secure else None
    if not secure and (files.ca or files.certificate):  # whoever gives one believes that the connection is encrypted
        field = "redis_ca_file" if files.ca else "redis_cert_file"
        raise BrokerUrlError(
            "is for TLS, and the URL is not: rediss://, rediss+sentinel:// or rediss+cluster://", field=field
        )
    if kind == "unix":
        if not address.startswith("/"):
            raise ValueError
        return Target(path=unquote(address), db=_database(options.get("db", "")), login=login)
    authority, _, path = address.partition("/")
    if kind == "sentinel":
        service, _, database = path.partition("/")
        if not service:
            raise ValueError
        of_sentinels = Login(options.get("sentinel_username", ""), options.get("sentinel_password", ""))
        db = _database(options.get("db", database))
        hosts = _hosts(authority, SENTINEL_PORT)
        return Target(hosts, service=unquote(service), db=db, login=login, sentinel_login=of_sentinels, tls=tls)
    if kind == "cluster":
        if _database(options.get("db", path)):
            raise BrokerUrlError("a Redis Cluster has no database but 0")
        return Target(_hosts(authority, DEFAULT_PORT), cluster=True, login=login, tls=tls)
    return Target((_host(authority, DEFAULT_PORT),), db=_database(options.get("db", path)), login=login, tls=tls)


def _hosts(text: str, default_port: int) -> tuple[tuple[str, int], ...]:
    if any(not one or one.startswith(":") for one in text.split(",")):
        raise ValueError
    return tuple(_host(one, default_port) for one in text.split(","))


def _host(text: str, default_port: int) -> tuple[str, int]:
    match = _HOST.fullmatch(text)
    if match is None or not 0 < (port := int(match[2] or default_port)) < 65536:
        raise ValueError
    return (match[1] or "localhost").strip("[]"), port


def _database(text: str) -> int:
    if not re.fullmatch(r"[0-9]{0,5}", text.strip("/"), re.ASCII):
        raise ValueError
    return int(text.strip("/") or 0)


def _options(query: str, kind: str, secure: bool) -> dict[str, str]:
    known = [name for name in OPTIONS if kind == "sentinel" or not name.startswith("sentinel_")]
    known += TLS_OPTIONS if secure else ()
    options = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    if not options.keys() <= set(known):
        raise BrokerUrlError(f"has an option after the ? that is not known here; known are {', '.join(known)}")
    return options


# TLS


def _files(options: dict[str, str], files: Files) -> Files:
    """Those of the settings, unless the URL names its own."""
    given = (options.get(name) for name in TLS_OPTIONS[:3])
    return Files(*(mine or theirs for mine, theirs in zip(given, files, strict=True)))


def _context(files: Files, options: dict[str, str]) -> ssl.SSLContext:
    if options.get("ssl_cert_reqs", "required") not in ("required", "none"):
        raise BrokerUrlError("ssl_cert_reqs is required or none")
    if options.get("ssl_check_hostname", "true") not in ("true", "false"):
        raise BrokerUrlError("ssl_check_hostname is true or false")
    try:
        context = ssl.create_default_context(cafile=files.ca)
    except OSError as error:
        raise _unreadable("redis_ca_file", files.ca, "certificates in PEM form", error) from None
    if files.certificate:
        try:
            context.load_cert_chain(files.certificate, files.key, password=lambda: "")
        except OSError as error:
            pair = " and ".join(filter(None, (files.certificate, files.key)))
            expected = "a certificate and its key, not encrypted, in PEM form"
            raise _unreadable("redis_cert_file", pair, expected, error) from None
    if options.get("ssl_check_hostname") == "false" or options.get("ssl_cert_reqs") == "none":
        context.check_hostname = False
    if options.get("ssl_cert_reqs") == "none":
        context.verify_mode = ssl.CERT_NONE
    return context


def _unreadable(field: str, path: str | None, expected: str, error: OSError) -> BrokerUrlError:
    if isinstance(error, ssl.SSLError):  # it was read, and its text is OpenSSL's
        return BrokerUrlError(f"{path}: expected {expected}", field=field)
    return BrokerUrlError(f"{path}: {error.strerror or error}; expected {expected}", field=field)
