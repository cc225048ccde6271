"""Settings: where they come from, what is refused, and that no secret is ever shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import FrozenInstanceError
from ipaddress import ip_network
from pathlib import Path

import pytest

from gateway.config import (
    SETTINGS,
    ConfigError,
    Loaded,
    PublishKey,
    Settings,
    env_name,
    load,
    shown,
    with_publish_keys_read_again,
)
from gateway.errors import GatewayError

SECRET = "s" * 32
PEM = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----"
PASSWORD = "hunter2"
A_BROKER = (
    "a URL that starts with memory://, redis://, rediss://, unix://, redis+sentinel://, rediss+sentinel://, "
    "redis+cluster://, rediss+cluster://"
)
AN_ORIGIN = "origins such as https://app.example.com (no path, no final slash), with commas between, or * alone"


def env(**variables: str) -> dict[str, str]:
    return {f"GATEWAY_{name}": value for name, value in variables.items()}


def from_env(**variables: str) -> Loaded:
    return load(environ=env(**variables))


def problems(call: Callable[[], object]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        call()
    return caught.value.problems


def only_problem(**variables: str) -> str:
    (problem,) = problems(lambda: from_env(**variables))
    return problem


@pytest.fixture
def toml(tmp_path: Path) -> Callable[[str], str]:
    def write(content: str) -> str:
        path = tmp_path / "gateway.toml"
        path.write_text(content)
        return str(path)

    return write


# --- values and where they come from


def test_defaults() -> None:
    """Without any source every setting has its default and says so."""
    loaded = load(environ={})
    assert loaded.settings == Settings()
    assert set(loaded.sources) == set(SETTINGS)
    assert set(loaded.sources.values()) == {"default"}
    assert loaded.warnings == []


def test_promised_defaults() -> None:
    """The defaults are the documented ones."""
    s = Settings()
    assert (s.host, s.port, s.workers, s.internal_port) == ("127.0.0.1", 8080, 1, None)
    assert (s.broker_url, s.channel_prefix) == ("memory://", "sse")
    assert (s.retention, s.retention_max_events, s.retention_ttl) == (True, 1000, 3600)
    assert (s.heartbeat_interval, s.retry_ms, s.send_timeout, s.drain_seconds) == (15, 3000, 60, 20)
    assert (s.max_connection_age, s.max_connections, s.max_connections_per_user) == (0, 0, 32)
    assert (s.max_event_bytes, s.max_buffer_bytes, s.max_body_bytes) == (65536, 262144, 4194304)
    assert (s.log_format, s.log_level) == ("json", "info")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("HOST", "::", "::"),
        ("PORT", "0", 0),
        ("INTERNAL_PORT", "9090", 9090),
        ("BROKER_URL", "redis+sentinel://h1:26379,h2:26379/main/0", "redis+sentinel://h1:26379,h2:26379/main/0"),
        ("BROKER_URL", "unix:///run/redis.sock", "unix:///run/redis.sock"),
        ("RETENTION", "off", False),
        ("RETENTION", "True", True),
        ("HEARTBEAT_INTERVAL", "0.5", 0.5),
        ("MAX_CONNECTION_AGE", "0", 0.0),
        ("JWT_SECRET", SECRET, SECRET),
        ("JWT_PUBLIC_KEY", PEM, PEM),
        ("JWT_PUBLIC_KEY", PEM.replace("\n", "\\n"), PEM),
        ("JWT_JWKS_URL", "https://id.example/keys", "https://id.example/keys"),
        ("JWT_ALGORITHMS", "RS256, EdDSA", ("RS256", "EdDSA")),
        ("TRUSTED_PROXIES", "10.0.0.0/8, ::1", (ip_network("10.0.0.0/8"), ip_network("::1"))),
        ("CORS_ORIGINS", "https://A.example,capacitor://localhost", ("https://a.example", "capacitor://localhost")),
        ("CORS_ORIGINS", "*", ("*",)),
        ("LOG_LEVEL", "DEBUG", "debug"),
        ("PUBLISHER_URL", "http://gateway:8080", "http://gateway:8080"),
        ("PUBLISHER_KEY", "k", "k"),
    ],
)  # fmt: skip
def test_environment(name: str, text: str, value: object) -> None:
    """An environment variable is read as its setting's type."""
    loaded = from_env(**{name: text})
    assert getattr(loaded.settings, name.lower()) == value
    assert loaded.sources[name.lower()] == "environment"


def test_precedence(toml: Callable[[str], str]) -> None:
    """Flags win over environment, environment over file, file over default."""
    path = toml('host = "a"\nport = 1\nworkers = 1\nlog_level = "error"')
    environ = {"GATEWAY_HOST": "b", "GATEWAY_PORT": "2"}
    loaded = load({"host": "c"}, environ, path)
    assert (loaded.settings.host, loaded.settings.port, loaded.settings.log_level) == ("c", 2, "error")
    assert loaded.sources["host"] == "flag"
    assert loaded.sources["port"] == "environment"
    assert loaded.sources["log_level"] == f"file {path}"
    assert loaded.sources["retry_ms"] == "default"


def test_toml_types_and_names(toml: Callable[[str], str]) -> None:
    """A TOML file may use either form of a name, and its own types and lists."""
    path = toml(
        "GATEWAY_PORT = 9000\nretention = false\nheartbeat_interval = 2.5\n"
        'cors_origins = ["https://a.example", "https://b.example"]\ntrusted_proxies = []\n'
        'publish_keys = ["bare", "billing:k2:user:*|broadcast"]'
    )
    settings = load(environ={}, config_file=path).settings
    assert (settings.port, settings.retention, settings.heartbeat_interval) == (9000, False, 2.5)
    assert settings.cors_origins == ("https://a.example", "https://b.example")
    assert settings.trusted_proxies == ()
    assert [key.name for key in settings.publish_keys] == ["key-1", "billing"]


def test_empty_variable_is_unset(toml: Callable[[str], str]) -> None:
    """An empty environment variable leaves the setting to the file or the default."""
    loaded = load(environ={"GATEWAY_PORT": "", "GATEWAY_HOST": ""}, config_file=toml("port = 9000"))
    assert (loaded.settings.port, loaded.settings.host) == (9000, "127.0.0.1")


def test_empty_flag_is_the_default() -> None:
    """An empty flag puts the default back over what the environment says."""
    loaded = load({"cors_origins": ""}, {"GATEWAY_CORS_ORIGINS": "*"})
    assert loaded.settings.cors_origins == ()


def test_publish_keys() -> None:
    """A bare key may publish everything, a named one what its scopes say."""
    keys = from_env(PUBLISH_KEYS="aaa, shop:bbb:topic:orders.*|user:42|broadcast").settings.publish_keys
    assert keys == (
        PublishKey("key-1", "aaa", ("*",)),
        PublishKey("shop", "bbb", ("topic:orders.*", "user:42", "broadcast")),
    )


# --- secret files


@pytest.mark.parametrize("name", [name for name, setting in SETTINGS.items() if setting.secret])
def test_secret_file(name: str, tmp_path: Path) -> None:
    """Every secret can be given as the path of a file, whose last newline does not count."""
    given = {
        "jwt_secret": SECRET,
        "jwt_public_key": PEM,
        "publish_keys": "k",
        "publisher_key": "k",
        "console_key": "k" * 16,
    }
    path = tmp_path / "secret"
    path.write_text(given.get(name, "redis://h") + "\n")
    loaded = load(environ={f"{env_name(name)}_FILE": str(path)})
    direct = load(environ={env_name(name): given.get(name, "redis://h")})
    assert getattr(loaded.settings, name) == getattr(direct.settings, name)
    assert loaded.sources[name] == f"secret file {path}"


def test_publish_keys_file_has_one_key_per_line(tmp_path: Path) -> None:
    """A file of publisher keys separates them by lines or commas."""
    path = tmp_path / "keys"
    path.write_text("one\nshop:two:broadcast,three\n\n")
    keys = from_env(PUBLISH_KEYS_FILE=str(path)).settings.publish_keys
    assert [(key.name, key.key) for key in keys] == [("key-1", "one"), ("shop", "two"), ("key-3", "three")]


def test_publish_keys_file_may_say_what_a_key_is_for(tmp_path: Path) -> None:
    """Lines that begin with # and a space are for people, commas in them too; a key may begin with #."""
    path = tmp_path / "keys"
    path.write_text("# old, until May\nshop:one:broadcast\n#\n  # new\nshop:two:broadcast\n#three\n")
    keys = from_env(PUBLISH_KEYS_FILE=str(path)).settings.publish_keys
    assert [(key.name, key.key) for key in keys] == [("shop", "one"), ("shop", "two"), ("key-3", "#three")]


def test_publish_keys_are_read_again_from_their_file(tmp_path: Path) -> None:
    """The file that they came from gives other keys later; nothing else changes."""
    path = tmp_path / "keys"
    path.write_text("shop:one:broadcast")
    settings = from_env(PUBLISH_KEYS_FILE=str(path), PORT="1234").settings
    path.write_text("shop:two:user:*")
    read = with_publish_keys_read_again(settings)
    assert read.publish_keys == (PublishKey("shop", "two", ("user:*",)),)
    assert (read.port, read.publish_keys_path) == (1234, str(path))
    assert from_env(PUBLISH_KEYS="k").settings.publish_keys_path is None


@pytest.mark.parametrize("content", [None, "", "# nothing\n", "hunter2:x:everything", "hunter2:x", "hunter2\nhunter2"])
def test_a_bad_file_of_publish_keys_is_told_without_keys(tmp_path: Path, content: str | None) -> None:
    """What is wrong when it is read again names the setting and the file, and repeats nothing of it."""
    path = tmp_path / "keys"
    path.write_text("one")
    settings = from_env(PUBLISH_KEYS_FILE=str(path)).settings
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match="GATEWAY_PUBLISH_KEYS") as raised:
        with_publish_keys_read_again(settings)
    assert str(path) in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_secret_file_in_toml(toml: Callable[[str], str], tmp_path: Path) -> None:
    """A TOML file can point to a secret's file too, and the environment still wins."""
    (tmp_path / "secret").write_text(SECRET)
    path = toml(f'jwt_secret_file = "{tmp_path / "secret"}"')
    assert load(environ={}, config_file=path).settings.jwt_secret == SECRET
    assert load(environ={"GATEWAY_JWT_SECRET": "x" * 40}, config_file=path).settings.jwt_secret == "x" * 40


def test_secret_and_its_file() -> None:
    """A secret given both directly and as a file is refused."""
    problem = only_problem(JWT_SECRET=SECRET, JWT_SECRET_FILE="/somewhere")
    assert problem == "GATEWAY_JWT_SECRET and GATEWAY_JWT_SECRET_FILE (environment): set only one of them"


def test_unreadable_secret_file(tmp_path: Path) -> None:
    """A secret's file that cannot be read is named together with its setting."""
    path = tmp_path / "missing"
    problem = only_problem(JWT_SECRET_FILE=str(path))
    assert problem == f"GATEWAY_JWT_SECRET_FILE: {path} cannot be read: No such file or directory"


@pytest.mark.parametrize(("content", "said"), [(b"\n", "is empty"), (b"\xff" * 40, "is not UTF-8 text")])
def test_useless_secret_file(content: bytes, said: str, tmp_path: Path) -> None:
    """A secret's file without text in it is refused."""
    path = tmp_path / "secret"
    path.write_bytes(content)
    assert only_problem(PUBLISHER_KEY_FILE=str(path)) == f"GATEWAY_PUBLISHER_KEY_FILE: {path} {said}"


def test_only_secrets_have_files() -> None:
    """A setting that is no secret cannot be given as a file."""
    assert "GATEWAY_PORT_FILE (environment): no such setting" in only_problem(PORT_FILE="/x")


# --- names


def test_unknown_variable() -> None:
    """An unknown GATEWAY_ name is refused, with the nearest one suggested."""
    assert only_problem(HEARTBEAT_INTERVALL="1") == (
        "GATEWAY_HEARTBEAT_INTERVALL (environment): no such setting; did you mean GATEWAY_HEARTBEAT_INTERVAL?"
    )


def test_unknown_far_from_all() -> None:
    """An unknown name like no other points to the list."""
    assert only_problem(ZZZZ="1").endswith("no such setting; `gateway config` lists them all")


def test_unknown_toml_key_and_flag(toml: Callable[[str], str]) -> None:
    """Unknown names in a file and in flags are refused as well."""
    path = toml("prot = 1\n[table]\nx = 1")
    found = problems(lambda: load({"hots": "x"}, {}, path))
    assert found == [
        "hots (flag): no such setting; did you mean GATEWAY_HOST?",
        f"prot (file {path}): no such setting; did you mean GATEWAY_PORT?",
        f"table (file {path}): no such setting; `gateway config` lists them all",
    ]


def test_toml_key_given_in_both_forms(toml: Callable[[str], str]) -> None:
    """A file that gives one setting under both forms of its name is refused."""
    path = toml("port = 1\nGATEWAY_PORT = 2")
    assert problems(lambda: load(environ={}, config_file=path)) == [f"GATEWAY_PORT (file {path}): given twice"]


def test_other_variables_are_not_ours() -> None:
    """Variables without the prefix are not looked at."""
    assert load(environ={"PATH": "/bin", "HTTP_GATEWAY_PORT": "x"}).settings == Settings()


KUBERNETES = {
    "GATEWAY_SERVICE_HOST": "10.0.0.1",
    "GATEWAY_SERVICE_PORT": "80",
    "GATEWAY_SERVICE_PORT_HTTP": "80",
    "GATEWAY_PORT": "tcp://10.0.0.1:80",
    "GATEWAY_PORT_8080_TCP": "tcp://10.0.0.1:8080",
    "GATEWAY_PORT_8080_TCP_ADDR": "10.0.0.1",
    "GATEWAY_PORT_8080_TCP_PORT": "8080",
    "GATEWAY_PORT_8080_TCP_PROTO": "tcp",
    "GATEWAY_PORT_53_UDP": "udp://10.0.0.1:53",
    "GATEWAY_PORT_53_UDP_PROTO": "udp",
    "GATEWAY_INTERNAL_SERVICE_HOST": "10.0.0.2",
    "GATEWAY_INTERNAL_PORT": "tcp://10.0.0.2:80",
}


def test_kubernetes_service_links() -> None:
    """What Kubernetes injects for a Service called gateway is ignored with one warning."""
    loaded = load(environ=KUBERNETES | {"GATEWAY_WORKERS": "1"})
    assert (loaded.settings.port, loaded.settings.internal_port) == (8080, None)
    assert loaded.sources["port"] == "default"
    (warning,) = loaded.warnings
    assert all(name in warning for name in KUBERNETES)
    assert "GATEWAY_WORKERS" not in warning
    assert "enableServiceLinks: false" in warning


def test_port_that_is_no_service_link() -> None:
    """A bad port that Kubernetes did not inject is still an error."""
    assert only_problem(PORT="http://x").startswith("GATEWAY_PORT='http://x' (environment): expected")


# --- bad values


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("PORT", "http", "a whole number from 0 to 65535"),
        ("PORT", "65536", "a whole number from 0 to 65535"),
        ("INTERNAL_PORT", "0", "a whole number from 1 to 65535"),
        ("WORKERS", "0", "a whole number of 1 or more"),
        ("MAX_CONNECTIONS", "-1", "a whole number of 0 or more"),
        ("MAX_EVENT_BYTES", "64k", "a whole number of 1 or more, in bytes"),
        ("HEARTBEAT_INTERVAL", "0", "a number greater than 0, in seconds"),
        ("HEARTBEAT_INTERVAL", "nan", "a number greater than 0, in seconds"),
        ("DRAIN_SECONDS", "inf", "a number of 0 or more, in seconds"),
        ("RETENTION", "maybe", "on or off"),
        ("HOST", "http://x", "a host name or an address to listen on"),
        ("CHANNEL_PREFIX", "{x}", "1 to 64 of the characters A-Z a-z 0-9 _ . : -"),
        ("LOG_FORMAT", "xml", "json or console"),
        ("LOG_LEVEL", "loud", "debug or info or warning or error"),
        ("JWT_JWKS_URL", "ftp://x", "a URL that starts with https://, http://"),
        ("JWT_ALGORITHMS", "none", "EdDSA, or HS, RS, PS or ES with 256, 384 or 512, such as ES256; "
         "with commas between"),
        ("JWT_AUDIENCE", "a b", "a value without spaces"),
        ("USER_HEADER", "X User", "the name of a header, such as X-User-Id"),
        ("TRUSTED_PROXIES", "10.0.0.1/8", "addresses or networks such as 10.0.0.0/8, with commas between"),
        ("CORS_ORIGINS", "https://a.example/", AN_ORIGIN),
        ("CORS_ORIGINS", "*,https://a.example", AN_ORIGIN),
    ],
)  # fmt: skip
def test_bad_value(name: str, text: str, expected: str) -> None:
    """A bad value is refused by name, with what was given and what is expected."""
    assert only_problem(**{name: text}) == f"GATEWAY_{name}={text!r} (environment): expected {expected}"


def test_a_bad_url_is_shown_without_its_password() -> None:
    """Also one that is no secret by itself."""
    said = only_problem(JWT_JWKS_URL=f"ftp://u:{PASSWORD}@h/jwks.json")
    assert said.startswith("GATEWAY_JWT_JWKS_URL='ftp://u:********@h/jwks.json' (environment): expected a URL")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("JWT_SECRET", PASSWORD, "32 bytes or more, as from `openssl rand -hex 32`"),
        ("JWT_PUBLIC_KEY", PASSWORD, "a public key in PEM form (-----BEGIN PUBLIC KEY-----)"),
        ("JWT_PUBLIC_KEY", f"-----BEGIN PRIVATE KEY-----{PASSWORD}",
         "a public key in PEM form (-----BEGIN PUBLIC KEY-----)"),
        ("BROKER_URL", f"rabbit://:{PASSWORD}@h", A_BROKER),
        ("BROKER_URL", "redis://", A_BROKER),
        ("PUBLISHER_URL", PASSWORD, A_BROKER.replace("memory://", "http://, https://")),
        ("PUBLISHER_KEY", f"{PASSWORD} x", "visible ASCII characters only"),
        ("PUBLISH_KEYS", f"a,name:{PASSWORD}", "`key` or `name:key:scopes` (entry 2)"),
        ("PUBLISH_KEYS", f"{PASSWORD}::*", "a name and a key of visible ASCII characters (entry 1)"),
        ("PUBLISH_KEYS", f"a:b:*|{PASSWORD}",
         "scope 2 to be one of *, broadcast, user:*, user:<id>, topic:*, "
         "topic:<prefix>.* or topic:<name> (entry 1)"),
        ("PUBLISH_KEYS", f"{PASSWORD},x:{PASSWORD}:*", "each key only once"),
    ],
)  # fmt: skip
def test_bad_secret(name: str, text: str, expected: str) -> None:
    """A bad secret is refused by name without repeating it."""
    problem = only_problem(**{name: text})
    assert problem == f"GATEWAY_{name}=******** (environment): expected {expected}"
    assert PASSWORD not in problem


@pytest.mark.parametrize("scope", ["users", "user:", "user:a b", "user:a*", "topic:", "topic:*.x", "topic:a*", ""])
def test_bad_scope(scope: str) -> None:
    """A scope outside the grammar cannot be given to a key."""
    with pytest.raises(ValueError, match="scope 1"):
        PublishKey("name", "key", (scope,))


@pytest.mark.parametrize(
    ("line", "given"),
    [("port = true", "True"), ("port = [1]", "[1]"), ("cors_origins = [1]", "[1]"), ("port = 80.0", "80.0")],
)
def test_bad_toml_type(line: str, given: str, toml: Callable[[str], str]) -> None:
    """A TOML value of the wrong type is refused like any bad value."""
    path = toml(line)
    name = env_name(line.split(" ")[0])
    (problem,) = problems(lambda: load(environ={}, config_file=path))
    assert problem.startswith(f"{name}={given} (file {path}): expected ")


def test_missing_config_file(tmp_path: Path) -> None:
    """A config file that cannot be read is the problem, not the settings it would have held."""
    path = str(tmp_path / "missing.toml")
    found = problems(lambda: load(environ={}, config_file=path, serve=True))
    assert found == [f"--config {path}: cannot be read: No such file or directory"]


def test_config_file_that_is_not_toml(toml: Callable[[str], str]) -> None:
    """A syntax error in the config file is reported with its place."""
    path = toml("port = = 1")
    (problem,) = problems(lambda: load(environ={}, config_file=path))
    assert problem.startswith(f"--config {path}: not TOML: ")
    assert "line 1" in problem


def test_all_problems_at_once(toml: Callable[[str], str]) -> None:
    """Everything that is wrong is reported together, in one error of the package's tree."""
    environ = {"GATEWAY_PORT": "x", "GATEWAY_NOPE": "1", "GATEWAY_JWT_SECRET_FILE": "/no/such"}
    with pytest.raises(GatewayError) as caught:
        load({"workers": "2"}, environ, toml("retry_ms = 0"), serve=True)
    assert isinstance(caught.value, ConfigError)
    assert [problem.split(" ")[0] for problem in caught.value.problems] == [
        "GATEWAY_NOPE",
        "GATEWAY_PORT='x'",
        "GATEWAY_RETRY_MS=0",
        "GATEWAY_JWT_SECRET_FILE:",
        "GATEWAY_WORKERS:",
        "no",
    ]
    assert str(caught.value) == "\n".join(caught.value.problems)


def test_no_problem_follows_from_another() -> None:
    """A bad broker URL is not also reported as no broker for several workers."""
    (problem,) = problems(lambda: from_env(WORKERS="2", BROKER_URL="rabbit://h"))
    assert problem.startswith("GATEWAY_BROKER_URL=")


# --- settings that contradict each other


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"WORKERS": "2"}, "GATEWAY_WORKERS: more than 1 needs a broker other than memory://"),
        ({"INTERNAL_PORT": "8080"}, "GATEWAY_INTERNAL_PORT: must not be GATEWAY_PORT"),
        ({"MAX_BUFFER_BYTES": "131071"}, "GATEWAY_MAX_BUFFER_BYTES: must be at least twice"),
        ({"MAX_BODY_BYTES": "65535"}, "GATEWAY_MAX_BODY_BYTES: must be at least GATEWAY_MAX_EVENT_BYTES"),
        ({"JWT_SECRET": SECRET, "JWT_PUBLIC_KEY": PEM}, "GATEWAY_JWT_SECRET, GATEWAY_JWT_PUBLIC_KEY, "
         "GATEWAY_JWT_JWKS_URL: set only one of them"),
        ({"JWT_SECRET": SECRET, "JWT_ALGORITHMS": "HS256,RS256"}, "GATEWAY_JWT_ALGORITHMS: with "
         "GATEWAY_JWT_SECRET only"),
        ({"JWT_PUBLIC_KEY": PEM, "JWT_ALGORITHMS": "HS256"}, "GATEWAY_JWT_ALGORITHMS: HS256, HS384 and HS512 "
         "are for GATEWAY_JWT_SECRET"),
        ({"USER_HEADER": "X-User-Id"}, "GATEWAY_USER_HEADER: needs GATEWAY_TRUSTED_PROXIES"),
        ({"USER_HEADER": "X-User-Id", "TRUSTED_PROXIES": "10.0.0.0/8,0.0.0.0/0"}, "GATEWAY_TRUSTED_PROXIES: 0.0.0.0/0"),
        ({"USER_HEADER": "X-User-Id", "TRUSTED_PROXIES": "::/0"}, "GATEWAY_TRUSTED_PROXIES: 0.0.0.0/0 and ::/0 are"),
    ],
)  # fmt: skip
def test_contradiction(variables: Mapping[str, str], said: str) -> None:
    """Settings that cannot hold together are refused."""
    assert only_problem(**variables).startswith(said)


@pytest.mark.parametrize(
    "variables",
    [
        {"WORKERS": "2", "BROKER_URL": "redis://h"},
        {"MAX_BUFFER_BYTES": "131072"},
        {"JWT_SECRET": SECRET, "JWT_ALGORITHMS": "HS512"},
        {"JWT_JWKS_URL": "https://id.example", "JWT_ALGORITHMS": "ES256"},
        {"USER_HEADER": "X-User-Id", "TRUSTED_PROXIES": "10.0.0.0/8"},
        {"TRUSTED_PROXIES": "0.0.0.0/0"},
    ],
)
def test_no_contradiction(variables: Mapping[str, str]) -> None:
    """What stands just inside a rule is accepted."""
    from_env(**variables)


def test_constructed_settings_are_checked() -> None:
    """Settings made in code meet the same rules, all at once."""
    assert problems(lambda: Settings(heartbeat_interval=0, jwt_secret="short")) == [
        "GATEWAY_HEARTBEAT_INTERVAL: expected a number greater than 0",
        "GATEWAY_JWT_SECRET: expected 32 bytes or more, as from `openssl rand -hex 32`",
    ]
    assert problems(lambda: Settings(workers=2))[0].startswith("GATEWAY_WORKERS")


def test_settings_are_frozen() -> None:
    """Settings do not change once made."""
    with pytest.raises(FrozenInstanceError):
        Settings().port = 1  # type: ignore[misc]


# --- authentication and development


def test_serving_needs_authentication() -> None:
    """Production refuses to start without both ways to authenticate, and says what to set."""
    subscribers, publishers = problems(lambda: load(environ={}, serve=True))
    assert "GATEWAY_JWT_SECRET, GATEWAY_JWT_PUBLIC_KEY, GATEWAY_JWT_JWKS_URL or GATEWAY_USER_HEADER" in subscribers
    assert "`export GATEWAY_JWT_SECRET=$(openssl rand -hex 32)`" in subscribers
    assert "`export GATEWAY_PUBLISH_KEYS=$(openssl rand -hex 32)`" in publishers
    assert problems(Settings().require_authentication) == [subscribers, publishers]


@pytest.mark.parametrize(
    "variables",
    [
        {"JWT_SECRET": SECRET, "PUBLISH_KEYS": "k"},
        {"JWT_PUBLIC_KEY": PEM},
        {"JWT_JWKS_URL": "https://id.example/keys"},
        {"USER_HEADER": "X-User-Id", "TRUSTED_PROXIES": "::1", "PUBLISH_KEYS": "k"},
    ],
)
def test_enough_authentication(variables: Mapping[str, str]) -> None:
    """Each way to authenticate subscribers is enough, and a public key serves publishers too."""
    load(environ=env(**variables), serve=True).settings.require_authentication()


def test_secret_alone_does_not_authenticate_publishers() -> None:
    """A shared secret lets subscribers in but publishers still need a key."""
    (problem,) = problems(lambda: load(environ=env(JWT_SECRET=SECRET), serve=True))
    assert problem.startswith("no way to authenticate publishers")


def test_development_mode() -> None:
    """Development needs no authentication and logs for people."""
    loaded = load(environ={}, dev=True, serve=True)
    assert loaded.settings.dev
    assert (loaded.settings.log_format, loaded.sources["log_format"]) == ("console", "default")
    assert load(environ=env(LOG_FORMAT="json"), dev=True).settings.log_format == "json"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_development_on_loopback(host: str) -> None:
    """Development listens on any loopback address."""
    assert load(environ=env(HOST=host), dev=True).settings.host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "gateway"])
def test_development_elsewhere(host: str) -> None:
    """Development refuses to listen where others could reach it."""
    (problem,) = problems(lambda: load(environ=env(HOST=host), dev=True))
    assert problem.startswith("GATEWAY_HOST: development mode")


# --- what is shown


def test_repr_shows_no_secret() -> None:
    """No secret is in the repr of settings or of a publisher key."""
    settings = Settings(
        jwt_secret=PASSWORD * 5,
        publish_keys=(PublishKey("shop", PASSWORD),),
        publisher_key=PASSWORD,
        broker_url=f"redis://:{PASSWORD}@h",
        publisher_url=f"redis://:{PASSWORD}@h",
    )
    assert PASSWORD not in repr(settings)
    assert PASSWORD not in repr(settings.publish_keys)


def test_shown() -> None:
    """Secrets are shown as stars when set, the rest as plain values."""
    settings = Settings(jwt_secret=SECRET, trusted_proxies=(ip_network("10.0.0.0/8"),))
    assert shown(settings, "jwt_secret") == "********"
    assert shown(settings, "publish_keys") == []
    assert shown(settings, "publisher_key") is None
    assert shown(settings, "trusted_proxies") == ["10.0.0.0/8"]
    assert shown(settings, "port") == 8080


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://h:6379/0", "redis://h:6379/0"),
        ("redis://:hunter2@h", "redis://:********@h"),
        ("redis://me:hun@ter2@h/0", "redis://me:********@h/0"),
        ("redis://hunter2@h", "redis://********@h"),
        ("redis+sentinel://h1,h2/main?password=hunter2&db=1", "redis+sentinel://h1,h2/main?password=********&db=1"),
        ("redis://h?p%61ssword=hunter2", "redis://h?p%61ssword=********"),
        ("redis://me:hun?ter2@h", "redis://me:********@h"),
        ("redis://h?username=me@x&password=hunter2", "redis://********@x&password=********"),
        ("redis://h?password=hunter2&username=me:x@y", "redis://h?password=********&username=me:********@y"),
        ("memory://", "memory://"),
    ],
)  # fmt: skip
def test_shown_url(url: str, said: str) -> None:
    """A broker URL is shown without its password, wherever that stands."""
    assert shown(Settings(broker_url=url), "broker_url") == said


def test_every_setting_is_described() -> None:
    """Every setting says what it is for; how a process was started, and from where, is none."""
    assert set(SETTINGS) == set(Settings.__slots__) - {"dev", "publish_keys_path"}
    assert all(setting.help for setting in SETTINGS.values())


def test_only_reads_the_named_settings_from_the_environment() -> None:
    """A backend service's own GATEWAY_ variables are none of the client's business."""
    environ = {"GATEWAY_TIMEOUT": "5", "GATEWAY_PORT": "tcp", "GATEWAY_PUBLISHER_URL": "http://gateway:8080"}
    loaded = load(environ=environ, only=("publisher_url",))
    assert loaded.settings.publisher_url == "http://gateway:8080"
