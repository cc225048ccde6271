"""One frozen `Settings`, from flags, environment and file; nothing else in the package reads `os.environ`.

The table is the class: each field says its kind, unit, help and whether it is a secret, and that drives
reading, checking, `gateway config` and the reference. What contradicts what is a second table, `_RULES`.
Everything that is wrong is collected and reported at once, and no report holds a secret.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from ipaddress import IPv4Network, IPv6Network, ip_address
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple

from . import setting_kinds as kinds
from .errors import GatewayError
from .setting_kinds import HIDDEN, Kind, PublishKey, Refused, hide_password
from .setting_sources import SECRET_FILE, env_name, find, from_environment, from_toml, layer, secret

__all__ = [
    "SETTINGS",
    "ConfigError",
    "Loaded",
    "PublishKey",
    "Setting",
    "Settings",
    "env_name",
    "load",
    "shown",
    "with_publish_keys_read_again",
]

BROKERS = ("memory", "redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
PUBLISHERS = ("http", "https", *BROKERS[1:])


class ConfigError(GatewayError):
    """The settings cannot be used. `problems` is everything that is wrong with them, one line each."""

    title = "The settings are not valid"

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True, slots=True)
class Setting:
    """What is known of a setting besides its name, type and default."""

    kind: Kind
    help: str
    secret: bool = False


def _setting(default: Any, kind: Kind, help: str, *, secret: bool = False) -> Any:
    return field(default=default, repr=not secret, metadata={"setting": Setting(kind, help, secret)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set. Making one of values that are wrong or contradict raises `ConfigError`.

    Units are those of `SETTINGS[name].kind.unit`; what is counted in seconds is a float.
    """

    host: str = _setting("127.0.0.1", kinds.HOST, "address to listen on")
    port: int = _setting(8080, kinds.ANY_PORT, "port to listen on; 0 takes any free one")
    workers: int = _setting(1, kinds.COUNT, "processes sharing the port")
    internal_port: int | None = _setting(None, kinds.PORT, "only here: publish, presence, metrics, console")

    broker_url: str = _setting("memory://", kinds.url(*BROKERS), "what carries the events", secret=True)
    redis_ca_file: str | None = _setting(None, kinds.PATH, "whose certificates a Redis over TLS must show")
    redis_cert_file: str | None = _setting(None, kinds.PATH, "the certificate to show to a Redis that wants one")
    redis_key_file: str | None = _setting(None, kinds.PATH, "the key of that certificate, if it is not in its file")
    redis_partitions: int = _setting(16, kinds.PARTITIONS, "of a Redis Cluster; the same for all, and for good")
    channel_prefix: str = _setting("sse", kinds.PREFIX, "first part of every name in the broker")
    publish_timeout: float = _setting(1.5, kinds.SECONDS, "the whole of a publish to the broker")
    linger_seconds: float = _setting(5.0, kinds.SECONDS_OR_0, "a channel stays subscribed after its last leaver")

    retention: bool = _setting(True, kinds.SWITCH, "keep a history; off is at-most-once delivery")
    retention_max_events: int = _setting(1000, kinds.COUNT, "events kept per channel")
    retention_ttl: float = _setting(3600.0, kinds.SECONDS, "how long events are kept")
    idempotency_ttl: float = _setting(3600.0, kinds.SECONDS, "how long idempotency keys are known")
    replay_page: int = _setting(100, kinds.COUNT, "entries read from a history at a time")
    replay_page_bytes: int = _setting(262144, kinds.BYTES, "of one channel, in such a reading from Redis")
    max_replay_reads: int = _setting(8, kinds.COUNT, "such readings of Redis at once, by all connections")
    tail_bytes: int = _setting(32 * 2**20, kinds.BYTES_OR_0, "recent frames a process keeps for catching up")

    heartbeat_interval: float = _setting(15.0, kinds.SECONDS, "silence after which a comment line is sent")
    retry_ms: int = _setting(3000, kinds.RETRY, "sent as retry:, jittered by half of it")
    join_window_ms: float = _setting(2.0, kinds.WINDOW, "when busy, frames of so long go out in one write")
    send_timeout: float = _setting(60.0, kinds.SECONDS, "a client that takes nothing for so long is dropped")
    drain_seconds: float = _setting(20.0, kinds.SECONDS_OR_0, "connections are closed over this time on SIGTERM")
    max_connection_age: float = _setting(0.0, kinds.SECONDS_OR_0, "age at which one is closed; 0 is never")

    ready_max_lag: float = _setting(0.5, kinds.SECONDS_OR_0, "not ready while the event loop is so late; 0 is never")

    max_connections: int = _setting(0, kinds.COUNT_OR_0, "connections of a process; 0 is no limit")
    max_connections_per_user: int = _setting(32, kinds.COUNT_OR_0, "connections of one user; 0 is no limit")
    max_connections_per_address: int = _setting(0, kinds.COUNT_OR_0, "connections of one address (IPv6: of a /64)")
    connect_rate: float = _setting(0.0, kinds.RATE, "new connections a second; 0 is no limit")
    connect_burst: int = _setting(1000, kinds.COUNT, "new connections at once, where there is a rate")
    connect_rate_per_address: float = _setting(0.0, kinds.RATE, "new connections a second of one address")
    connect_burst_per_address: int = _setting(50, kinds.COUNT, "new connections at once of one address")
    max_pending_connections: int = _setting(
        1000, kinds.COUNT, "connections without a request yet; of more, the oldest go"
    )
    max_idle_connections: int = _setting(4096, kinds.COUNT, "connections kept between requests; of more, the oldest go")
    header_timeout: float = _setting(10.0, kinds.SECONDS, "for the head of a request to arrive")
    body_timeout: float = _setting(30.0, kinds.SECONDS, "for the body of a request to arrive")
    keepalive_timeout: float = _setting(620.0, kinds.SECONDS, "for the next request on a connection to begin")
    max_tickets_per_user: int = _setting(32, kinds.COUNT, "tickets of one user that were not used yet")
    max_away_seconds: int = _setting(2592000, kinds.COUNT, "for how long a user may be kept away, in seconds")
    max_poll_seconds: float = _setting(60.0, kinds.SECONDS_OR_0, "for how long a long poll may wait")
    max_topics: int = _setting(32, kinds.COUNT, "topics one connection may ask for")
    max_types: int = _setting(32, kinds.COUNT, "event types one connection may ask for")
    max_url_bytes: int = _setting(8000, kinds.BYTES, "the URL of a request")
    max_headers: int = _setting(100, kinds.COUNT, "headers of a request")
    max_header_bytes: int = _setting(8192, kinds.BYTES, "one header of a request, name and value")
    max_head_bytes: int = _setting(32768, kinds.BYTES, "what is kept of a request's head until it is whole")
    event_catalogue: str | None = _setting(None, kinds.PATH, "a YAML file that names the event types there are")
    max_event_bytes: int = _setting(65536, kinds.BYTES, "one event")
    max_batch_events: int = _setting(1000, kinds.COUNT, "events in one POST")
    max_body_bytes: int = _setting(4 * 2**20, kinds.BYTES, "the body of one POST")
    max_waiting_events: int = _setting(20000, kinds.COUNT, "events that may wait for Redis to take them")
    max_waiting_bytes: int = _setting(64 * 2**20, kinds.BYTES, "their data")
    publish_rate: float = _setting(0.0, kinds.RATE, "events a second of one publish key; 0 is no limit")
    publish_burst: int = _setting(1000, kinds.COUNT, "events of one publish key at once, where there is a rate")
    max_buffer_bytes: int = _setting(262144, kinds.BYTES, "waiting for one client before it counts as behind")

    jwt_secret: str | None = _setting(None, kinds.HMAC_SECRET, "verifies tokens (HS256)", secret=True)
    jwt_public_key: str | None = _setting(None, kinds.PEM, "verifies tokens (RS256, ES256, EdDSA)", secret=True)
    jwt_jwks_url: str | None = _setting(None, kinds.url("https", "http"), "where such public keys are published")
    jwt_jwks_refresh: float = _setting(300.0, kinds.SECONDS, "how often they are fetched anew")
    jwt_algorithms: tuple[str, ...] = _setting((), kinds.ALGORITHMS, "accepted ones; by kind of key when unset")
    jwt_audience: str | None = _setting(None, kinds.WORD, "a token's aud must be this")
    jwt_issuer: str | None = _setting(None, kinds.WORD, "a token's iss must be this")
    user_header: str | None = _setting(None, kinds.HEADER, "holds the user id a trusted proxy has verified")
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = _setting((), kinds.NETWORKS, "who may set headers")
    publish_keys: tuple[PublishKey, ...] = _setting((), kinds.PUBLISH_KEYS, "who may publish what", secret=True)
    console_key: str | None = _setting(None, kinds.LONG_KEY, "opens /console, which is off without it", secret=True)
    cors_origins: tuple[str, ...] = _setting((), kinds.ORIGINS, "web pages that may connect and read")

    log_format: str = _setting("json", kinds.choice("json", "console"), "json, or console for people")
    log_level: str = _setting("info", kinds.choice("debug", "info", "warning", "error"), "the least that is logged")

    publisher_url: str | None = _setting(None, kinds.url(*PUBLISHERS), "where clients publish to", secret=True)
    publisher_key: str | None = _setting(None, kinds.KEY, "the key that clients publish with", secret=True)

    dev: bool = False
    publish_keys_path: str | None = None

    def __post_init__(self) -> None:
        problems = [
            f"{env_name(name)}: expected {setting.kind.expected}"
            for name, setting in SETTINGS.items()
            if getattr(self, name) != _DEFAULTS[name] and not setting.kind.accepts(getattr(self, name))
        ]
        if problems := problems or _broken(_RULES, self):
            raise ConfigError(problems)

    def require_authentication(self) -> None:
        """Raise `ConfigError` unless subscribers and publishers can be told apart from strangers."""
        if problems := _broken(_RULES_TO_SERVE, self):
            raise ConfigError(problems)


SETTINGS: Mapping[str, Setting] = {f.name: f.metadata["setting"] for f in fields(Settings) if f.metadata}
"""Every setting by its attribute's name. `dev` is a flag, and `publish_keys_path` a source."""

_DEFAULTS: dict[str, Any] = {f.name: f.default for f in fields(Settings)}
_NAMES = [*SETTINGS, *(f"{name}_file" for name, setting in SETTINGS.items() if setting.secret)]


@dataclass(frozen=True, slots=True)
class Loaded:
    """`sources`, by name: `default`, `environment`, `flag`, `file <path>` or `secret file <path>`."""

    settings: Settings
    sources: Mapping[str, str]
    warnings: list[str]


class _Rule(NamedTuple):
    about: str
    broken: Callable[[Any], object]
    problem: str


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


_RULES = (
    _Rule("workers broker_url", lambda s: s.workers > 1 and s.broker_url.startswith("memory:"),
          "GATEWAY_WORKERS: more than 1 needs a broker other than memory://; set GATEWAY_BROKER_URL, "
          "for example redis://127.0.0.1:6379/0"),
    _Rule("redis_cert_file redis_key_file", lambda s: s.redis_key_file and not s.redis_cert_file,
          "GATEWAY_REDIS_KEY_FILE: needs GATEWAY_REDIS_CERT_FILE, the certificate that it is the key of"),
    _Rule("port internal_port", lambda s: s.port and s.port == s.internal_port,
          "GATEWAY_INTERNAL_PORT: must not be GATEWAY_PORT"),
    _Rule("max_buffer_bytes max_event_bytes", lambda s: s.max_buffer_bytes < 2 * s.max_event_bytes,
          "GATEWAY_MAX_BUFFER_BYTES: must be at least twice GATEWAY_MAX_EVENT_BYTES"),
    _Rule("max_body_bytes max_event_bytes", lambda s: s.max_body_bytes < s.max_event_bytes,
          "GATEWAY_MAX_BODY_BYTES: must be at least GATEWAY_MAX_EVENT_BYTES"),
    _Rule("max_waiting_events max_batch_events", lambda s: s.max_waiting_events < s.max_batch_events,
          "GATEWAY_MAX_WAITING_EVENTS: must be at least GATEWAY_MAX_BATCH_EVENTS"),
    _Rule("max_waiting_bytes max_body_bytes", lambda s: s.max_waiting_bytes < s.max_body_bytes,
          "GATEWAY_MAX_WAITING_BYTES: must be at least GATEWAY_MAX_BODY_BYTES"),
    _Rule("publish_rate publish_burst max_batch_events",
          lambda s: s.publish_rate and s.publish_burst < s.max_batch_events,
          "GATEWAY_PUBLISH_BURST: must be at least GATEWAY_MAX_BATCH_EVENTS, or a whole batch could never be taken"),
    _Rule("max_head_bytes max_url_bytes max_header_bytes",
          lambda s: s.max_head_bytes < s.max_url_bytes + s.max_header_bytes,
          "GATEWAY_MAX_HEAD_BYTES: must be at least GATEWAY_MAX_URL_BYTES and GATEWAY_MAX_HEADER_BYTES together"),
    _Rule("jwt_secret jwt_public_key jwt_jwks_url",
          lambda s: sum(map(bool, (s.jwt_secret, s.jwt_public_key, s.jwt_jwks_url))) > 1,
          "GATEWAY_JWT_SECRET, GATEWAY_JWT_PUBLIC_KEY, GATEWAY_JWT_JWKS_URL: set only one of them"),
    # A public key taken for an HMAC secret lets anybody sign (RFC 8725, section 2.1).
    _Rule("jwt_algorithms jwt_public_key jwt_jwks_url",
          lambda s: (s.jwt_public_key or s.jwt_jwks_url) and "HS" in "".join(s.jwt_algorithms),
          "GATEWAY_JWT_ALGORITHMS: HS256, HS384 and HS512 are for GATEWAY_JWT_SECRET, not for public keys"),
    _Rule("jwt_algorithms jwt_secret",
          lambda s: s.jwt_secret and not all(a.startswith("HS") for a in s.jwt_algorithms),
          "GATEWAY_JWT_ALGORITHMS: with GATEWAY_JWT_SECRET only HS256, HS384 and HS512 can be used"),
    _Rule("user_header trusted_proxies", lambda s: s.user_header and not s.trusted_proxies,
          "GATEWAY_USER_HEADER: needs GATEWAY_TRUSTED_PROXIES, the networks it is believed from, "
          "for example 10.0.0.0/8"),
    _Rule("user_header trusted_proxies", lambda s: s.user_header and any(n.prefixlen == 0 for n in s.trusted_proxies),
          "GATEWAY_TRUSTED_PROXIES: 0.0.0.0/0 and ::/0 are everybody, who could then be any user by sending "
          "GATEWAY_USER_HEADER; name your proxies' own networks"),
    _Rule("host", lambda s: s.dev and not _is_loopback(s.host),
          "GATEWAY_HOST: development mode asks nobody for a token, so it listens on loopback only; "
          "set 127.0.0.1, or leave out --dev"),
)  # fmt: skip

_RULES_TO_SERVE = (
    _Rule("jwt_secret jwt_public_key jwt_jwks_url user_header",
          lambda s: not (s.dev or s.jwt_secret or s.jwt_public_key or s.jwt_jwks_url or s.user_header),
          "no way to authenticate subscribers: set GATEWAY_JWT_SECRET, GATEWAY_JWT_PUBLIC_KEY, "
          "GATEWAY_JWT_JWKS_URL or GATEWAY_USER_HEADER, for example "
          "`export GATEWAY_JWT_SECRET=$(openssl rand -hex 32)`; or try things out with --dev"),
    _Rule("publish_keys jwt_public_key jwt_jwks_url",
          lambda s: not (s.dev or s.publish_keys or s.jwt_public_key or s.jwt_jwks_url),
          "no way to authenticate publishers: set GATEWAY_PUBLISH_KEYS or GATEWAY_PUBLISH_KEYS_FILE, for example "
          "`export GATEWAY_PUBLISH_KEYS=$(openssl rand -hex 32)`"),
)  # fmt: skip


def _broken(rules: Iterable[_Rule], settings: object, unreadable: Iterable[str] = ()) -> list[str]:
    """The problems of `rules` that do not hold; not asked are those about a setting that is wrong already."""
    return [r.problem for r in rules if r.broken(settings) and not {*r.about.split()} & {*unreadable}]


def load(
    argv_overrides: Mapping[str, str] = MappingProxyType({}),
    environ: Mapping[str, str] = os.environ,
    config_file: str | None = None,
    dev: bool = False,
    serve: bool = False,
    only: Collection[str] = (),
) -> Loaded:
    """Settings from flags, over environment, over file, over defaults; an empty value is the default.

    `serve` also requires authentication. `only` is for a program that is not the gateway: just these settings are
    read from its environment, since a GATEWAY_TIMEOUT there may be somebody else's. Raises `ConfigError` with
    everything that is wrong.
    """
    problems: list[str] = []
    wrong: set[str] = set()
    environment, warnings = from_environment(environ)
    if only:
        names = {env_name(name) + suffix for name in only for suffix in ("", "_FILE")}
        environment = {name: value for name, value in environment.items() if name in names}
    given: dict[str, Mapping[str, Any]] = {"flag": argv_overrides, "environment": environment}
    if config_file is not None:
        try:
            given[f"file {config_file}"] = from_toml(config_file)
        except ValueError as problem:
            problems.append(str(problem))
            wrong.update(SETTINGS)  # none of them is known now
    layers = {source: layer(source, settings, _NAMES, problems) for source, settings in given.items()}

    values = _DEFAULTS | {"dev": dev} | ({"log_format": "console"} if dev else {})
    sources = dict.fromkeys(SETTINGS, "default")
    for name in SETTINGS:
        try:
            sources[name], value = find(name, layers)
            if value not in (None, ""):
                values[name] = _parse(name, value, sources[name])
        except ValueError as problem:
            problems.append(str(problem))
            wrong.add(name)

    rules = _RULES + _RULES_TO_SERVE if serve else _RULES
    problems += _broken(rules, SimpleNamespace(**values), wrong)
    if problems:
        raise ConfigError(problems)
    if sources["publish_keys"].startswith(SECRET_FILE):
        values["publish_keys_path"] = sources["publish_keys"].removeprefix(SECRET_FILE)
    return Loaded(Settings(**values), sources, [*warnings, *_seen_by_ps(values, sources)])


def _seen_by_ps(values: Mapping[str, Any], sources: Mapping[str, str]) -> list[str]:
    """A warning for each secret that was given where other users of the machine can read it."""
    names = [name for name, setting in SETTINGS.items() if setting.secret and sources[name] == "flag"]
    return [
        f"{env_name(name)} was given on the command line, which everybody on this machine can read; "
        f"put it into a file, and its path into {env_name(name)}_FILE"
        for name in names
        if not name.endswith("_url") or hide_password(values[name]) != values[name]
    ]


def with_publish_keys_read_again(settings: Settings) -> Settings:
    """`settings` with what GATEWAY_PUBLISH_KEYS_FILE holds now. Raises `ConfigError`, also when it holds no key."""
    path = settings.publish_keys_path
    assert path is not None
    try:
        keys = _parse("publish_keys", secret("GATEWAY_PUBLISH_KEYS_FILE", path), SECRET_FILE + path)
    except ValueError as problem:
        raise ConfigError([str(problem)]) from None
    if not keys:
        raise ConfigError([f"GATEWAY_PUBLISH_KEYS_FILE: {path} holds no key"])
    return replace(settings, publish_keys=keys)


def _parse(name: str, given: object, source: str) -> Any:
    setting = SETTINGS[name]
    try:
        return setting.kind.parse(given)
    except Refused as expected:
        shown = hide_password(given) if name.endswith("_url") and isinstance(given, str) else given
        value = HIDDEN if setting.secret else repr(shown)
        unit = f", in {setting.kind.unit}" if setting.kind.unit else ""
        raise ValueError(f"{env_name(name)}={value} ({source}): expected {expected}{unit}") from None


def shown(settings: Settings, name: str) -> Any:
    """The value of a setting for people to read: plain JSON types, secrets hidden."""
    value = getattr(settings, name)
    if name.endswith("_url") and value:
        return hide_password(value)
    if SETTINGS[name].secret and value:
        return HIDDEN
    return [str(item) for item in value] if isinstance(value, tuple) else value
