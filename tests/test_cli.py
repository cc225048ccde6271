"""The command line, in process; `publish` against a real server that answers as the gateway does."""

from __future__ import annotations

import asyncio
import io
import json
import os
import runpy
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import jwt
import pytest
from aiohttp import ClientTimeout, web
from aiohttp.test_utils import TestServer
from auth.signing import pem, private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.cli import main
from gateway.config import SETTINGS, ConfigError, Settings

SECRET = "s" * 32
StartServer = Callable[[web.Application], Awaitable[TestServer]]


class Terminal(io.StringIO):
    """Standard input at a terminal, where nobody types."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GATEWAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(sys, "stdin", Terminal())


# --- serve


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Settings, list[str]]]:
    """What `serve` started, instead of starting it."""
    calls: list[tuple[Settings, list[str]]] = []
    app = ModuleType("gateway.app")

    def run(settings: Settings, *, warnings: list[str]) -> int:
        calls.append((settings, warnings))
        return 0

    app.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gateway.app", app)
    return calls


def test_serve(served: list[tuple[Settings, list[str]]], monkeypatch: pytest.MonkeyPatch) -> None:
    """serve runs the gateway with the settings of its flags, and hands on the warnings."""
    monkeypatch.setenv("GATEWAY_SERVICE_HOST", "10.0.0.1")
    flags = ["--port", "0", "--broker-url", "redis://h", "--workers", "2", "--log-level", "debug"]
    assert main(["serve", "--dev", *flags, "--set", "retention=off", "--set", "GATEWAY_RETRY_MS=5"]) == 0
    ((settings, warnings),) = served
    assert (settings.dev, settings.port, settings.broker_url) == (True, 0, "redis://h")
    assert (settings.workers, settings.log_level, settings.retention, settings.retry_ms) == (
        2,
        "debug",
        False,
        5,
    )
    assert (settings.host, settings.log_format) == ("127.0.0.1", "console")
    assert "GATEWAY_SERVICE_HOST" in warnings[0]


def test_serve_says_everything_that_is_wrong(
    served: list[tuple[Settings, list[str]]], capsys: pytest.CaptureFixture[str]
) -> None:
    """serve prints each problem on its own line and does not start."""
    assert main(["serve", "--port", "x"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" ")[:2] for line in lines] == [
        ["gateway:", "GATEWAY_PORT='x'"], ["gateway:", "no"], ["gateway:", "no"]
    ]  # fmt: skip
    assert served == []


def test_serve_refused_by_the_application(
    served: list[tuple[Settings, list[str]]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A setting that only the application can judge is reported the same way."""

    def run(settings: Settings, *, warnings: list[str]) -> None:
        raise ConfigError(["no such broker here"])

    monkeypatch.setattr(sys.modules["gateway.app"], "run", run)
    assert main(["serve", "--dev"]) == 2
    assert capsys.readouterr().err == "gateway: no such broker here\n"


def test_interrupted(served: list[tuple[Settings, list[str]]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends a command with the status a shell expects."""

    def run(settings: Settings, *, warnings: list[str]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["gateway.app"], "run", run)
    assert main(["serve", "--dev"]) == 130


def test_set_without_value(capsys: pytest.CaptureFixture[str]) -> None:
    """--set without a value is refused with an example."""
    with pytest.raises(SystemExit) as caught:
        main(["serve", "--set", "retention"])
    assert caught.value.code == 2
    assert "'retention': expected NAME=VALUE, for example retention=off" in capsys.readouterr().err


# --- config


def test_config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """config prints every setting with its source, and no secret."""
    (tmp_path / "c.toml").write_text('retention = false\ncors_origins = ["https://a.example", "https://b.example"]')
    monkeypatch.setenv("GATEWAY_JWT_SECRET", SECRET)
    monkeypatch.setenv("GATEWAY_BROKER_URL", "redis://:hunter2@h:6379/0")
    monkeypatch.setenv("GATEWAY_SERVICE_HOST", "10.0.0.1")
    assert main(["config", "--config", str(tmp_path / "c.toml"), "--port", "1"]) == 0
    out, err = capsys.readouterr()
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines()}
    assert len(rows) == len(SETTINGS)
    assert rows["GATEWAY_JWT_SECRET"] == ["********", "environment"]
    assert rows["GATEWAY_BROKER_URL"] == ["redis://:********@h:6379/0", "environment"]
    assert rows["GATEWAY_RETENTION"] == ["off", "file", str(tmp_path / "c.toml")]
    assert rows["GATEWAY_CORS_ORIGINS"][0] == "https://a.example,https://b.example"
    assert rows["GATEWAY_PORT"] == ["1", "flag"]
    assert rows["GATEWAY_HEARTBEAT_INTERVAL"] == ["15", "default"]
    assert rows["GATEWAY_INTERNAL_PORT"] == ["-", "default"]
    assert SECRET not in out
    assert "hunter2" not in out
    assert err.startswith("gateway: ignored GATEWAY_SERVICE_HOST")


def test_config_as_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """config --json prints the same for programs."""
    monkeypatch.setenv("GATEWAY_PUBLISH_KEYS", "hunter2")
    assert main(["config", "--json", "--dev"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert set(answer) == set(SETTINGS)
    assert answer["publish_keys"] == {"value": "********", "source": "environment"}
    assert answer["log_format"] == {"value": "console", "source": "default"}
    assert answer["port"]["value"] == 8080


def test_config_that_is_wrong(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """config says what is wrong with the settings instead of printing them."""
    monkeypatch.setenv("GATEWAY_PROT", "1")
    assert main(["config"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "gateway: GATEWAY_PROT (environment): no such setting; did you mean GATEWAY_PORT?\n"


# --- token


def test_token(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """token prints a token for the user that the gateway's settings verify."""
    monkeypatch.setenv("GATEWAY_JWT_SECRET", SECRET)
    monkeypatch.setenv("GATEWAY_JWT_AUDIENCE", "events")
    monkeypatch.setenv("GATEWAY_JWT_ISSUER", "me")
    assert main(["token", "--user", "42", "--topics", "orders.*", "news", "--ttl", "60"]) == 0
    token = capsys.readouterr().out.strip()
    claims = jwt.decode(token, SECRET, algorithms=["HS256"], audience="events", issuer="me")
    assert claims.pop("exp") - claims.pop("iat") == 60
    assert claims == {"sub": "42", "topics": ["orders.*", "news"], "aud": "events", "iss": "me"}


def test_token_as_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """token --json says what is in it, too."""
    monkeypatch.setenv("GATEWAY_JWT_SECRET", SECRET)
    assert main(["token", "--user", "42", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert jwt.decode(answer["token"], SECRET, algorithms=["HS256"]) == answer["claims"]


def test_token_says_no_more_than_asked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A plain token holds the user and its times only, and is good for an hour."""
    monkeypatch.setenv("GATEWAY_JWT_SECRET", SECRET)
    assert main(["token", "--user", "42"]) == 0
    claims = jwt.decode(capsys.readouterr().out.strip(), SECRET, algorithms=["HS256"])
    assert set(claims) == {"sub", "iat", "exp"}
    assert claims["exp"] - claims["iat"] == 3600


def test_token_in_the_configured_algorithm(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A token is signed with the first algorithm that the gateway accepts."""
    monkeypatch.setenv("GATEWAY_JWT_SECRET", SECRET * 2)
    monkeypatch.setenv("GATEWAY_JWT_ALGORITHMS", "HS512,HS256")
    assert main(["token", "--user", "42"]) == 0
    assert jwt.get_unverified_header(capsys.readouterr().out.strip())["alg"] == "HS512"


def test_token_without_secret(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a secret token says how to get one."""
    assert main(["token", "--user", "42"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("gateway: no GATEWAY_JWT_SECRET to sign a token with: `export GATEWAY_JWT_SECRET=")


@pytest.mark.parametrize(("kind", "algorithm"), [("rsa", "RS256"), ("p384", "ES384"), ("ed25519", "EdDSA")])
def test_token_signed_with_a_private_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, algorithm: str
) -> None:
    """With the private key in a file, the algorithm is the key's own, and its name in the JWKS goes along."""
    private = private_key(kind)
    file = tmp_path / "key.pem"
    file.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    assert main(["token", "--user", "42", "--private-key-file", str(file), "--kid", "new", "--scope", "user:*"]) == 0
    token = capsys.readouterr().out.strip()
    assert jwt.decode(token, private.public_key(), algorithms=[algorithm])["scope"] == "user:*"
    assert jwt.get_unverified_header(token)["kid"] == "new"


def test_token_with_a_private_key_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is missing, holds something else or another kind of key than is accepted is named."""
    file = tmp_path / "key.pem"
    for content in (None, b"nothing", pem("rsa").encode()):
        if content is not None:
            file.write_bytes(content)
        assert main(["token", "--user", "42", "--private-key-file", str(file)]) == 2
        assert capsys.readouterr().err.startswith(f"gateway: --private-key-file: {file} ")
    file.write_bytes(private_key("rsa").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    flags = ["--set", "jwt_algorithms=ES256", "--private-key-file", str(file)]
    assert main(["token", "--user", "42", *flags]) == 2
    assert "GATEWAY_JWT_ALGORITHMS" in capsys.readouterr().err


def test_token_for_an_impossible_user(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A user id outside the grammar is refused."""
    monkeypatch.setenv("GATEWAY_JWT_SECRET", SECRET)
    assert main(["token", "--user", "a b"]) == 2
    assert capsys.readouterr().err.startswith("gateway: user_id: ")


@pytest.mark.parametrize("flags", [["--ttl", "0"], ["--ttl", "1h"], ["--topics", "a*"], ["--scope", "users"]])
def test_token_flags(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A lifetime or a topic that cannot be is refused with what is expected."""
    with pytest.raises(SystemExit) as caught:
        main(["token", "--user", "42", *flags])
    assert caught.value.code == 2
    assert f"argument {flags[0]}: {flags[1]!r}: expected " in capsys.readouterr().err


# --- publish


class Gateway:
    """A server that notes each request and answers what it was told to."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str | None, Any]] = []
        self.answer: Callable[[], web.Response] = lambda: web.json_response(
            {"id": "1764000000000-0", "receivers": 2}, status=202
        )

    async def handle(self, request: web.Request) -> web.Response:
        self.requests.append((request.path, request.headers.get("Authorization"), await request.json()))
        return self.answer()


@pytest.fixture
async def gateway(aiohttp_server: StartServer, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    """A server at GATEWAY_PUBLISHER_URL."""
    gateway = Gateway()
    app = web.Application()
    app.router.add_post("/{path:.*}", gateway.handle)
    server = await aiohttp_server(app)
    monkeypatch.setenv("GATEWAY_PUBLISHER_URL", str(server.make_url("/")))
    return gateway


async def run(*argv: str) -> int:
    """`gateway <argv>`, beside the server's loop."""
    return await asyncio.to_thread(main, list(argv))


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (["--user", "a@b"], "/v1/users/a@b/events"),
        (["--broadcast"], "/v1/broadcast"),
        (["--topic", "orders.eu"], "/v1/topics/orders.eu/events"),
    ],
)
async def test_publish(target: list[str], path: str, gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    """publish posts the event to where its target is published to."""
    assert await run("publish", *target, "--type", "x", '{"a": [1]}') == 0
    assert gateway.requests == [(path, None, {"event_type": "x", "data": {"a": [1]}})]
    assert capsys.readouterr().out == ("published 1764000000000-0; 2 gateway processes have somebody online for it\n")


async def test_publish_with_keys(gateway: Gateway) -> None:
    """publish shows the publisher key, and sends the event's own key."""
    flags = ["--key", "secret", "--key-field", "order-7", "--id", "mine"]
    assert await run("publish", "--broadcast", "--type", "x", *flags) == 0
    more = {"key": "order-7", "id": "mine"}
    assert gateway.requests == [("/v1/broadcast", "Bearer secret", {"event_type": "x", "data": {}} | more)]


async def test_publish_key_from_the_environment(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """The publisher key is taken from GATEWAY_PUBLISHER_KEY when no flag gives one."""
    monkeypatch.setenv("GATEWAY_PUBLISHER_KEY", "from-env")
    assert await run("publish", "--broadcast", "--type", "x") == 0
    assert gateway.requests[0][1] == "Bearer from-env"


@pytest.mark.parametrize("argument", [["-"], []])
async def test_publish_from_standard_input(
    argument: list[str], gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Data that is piped in is read, with or without a dash."""
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"piped": true}\n'))
    assert await run("publish", "--broadcast", "--type", "x", *argument) == 0
    assert gateway.requests[0][2]["data"] == {"piped": True}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            {"id": "5-0", "receivers": 0},
            "published 5-0; nobody is online for it, so it waits in the history",
        ),
        ({"id": "5-0", "receivers": 1}, "published 5-0; 1 gateway process has somebody online for it"),
        ({"receivers": 0}, "published, not retained; nobody is online for it"),
    ],
)
async def test_publish_says_who_gets_it(
    answer: dict[str, Any], said: str, gateway: Gateway, capsys: pytest.CaptureFixture[str]
) -> None:
    """The answer is told as a sentence."""
    gateway.answer = lambda: web.json_response(answer, status=202)
    assert await run("publish", "--broadcast", "--type", "x") == 0
    assert capsys.readouterr().out == said + "\n"


async def test_publish_as_json(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    """publish --json prints the gateway's answer as it is."""
    assert await run("publish", "--broadcast", "--type", "x", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"id": "1764000000000-0", "receivers": 2}


def refusal(status: int, **problem: Any) -> Callable[[], web.Response]:
    return lambda: web.json_response(problem, status=status, content_type="application/problem+json")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            refusal(400, title="The event is not valid", detail="is reserved", field="event_type"),
            "400 The event is not valid: event_type: is reserved",
        ),
        (refusal(403, title="Not allowed"), "403 Not allowed; what a key may is said in GATEWAY_PUBLISH_KEYS, "),
        (refusal(401, title="No"), "401 No; give a publisher key with --publish-key or GATEWAY_PUBLISHER_KEY"),
        (refusal(503, title="No", detail="away"), "503 No: away; its /readyz says more. Send it again with --id, "),
        (refusal(404, title="No"), "404 No; publish to a gateway's own address, or to its GATEWAY_INTERNAL_PORT "),
        (lambda: web.Response(status=502, text="<html>"), "502 Bad Gateway"),
        (lambda: web.Response(status=302, headers={"Location": "/"}), "302 Found"),
    ],
)
async def test_publish_refused(
    answer: Callable[[], web.Response], said: str, gateway: Gateway, capsys: pytest.CaptureFixture[str]
) -> None:
    """A refusal is told with the problem's title, field and detail, and with what to do; it is a failure."""
    gateway.answer = answer
    assert await run("publish", "--broadcast", "--type", "x") == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert f": {said}" in err


async def test_publish_with_a_key_that_is_none(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever gave a key is told where the gateway's are, and not to give one."""
    gateway.answer = refusal(401, title="No")
    assert await run("publish", "--broadcast", "--type", "x", "--publish-key", "hunter2") == 1
    err = capsys.readouterr().err
    assert "401 No; the gateway takes the keys of its GATEWAY_PUBLISH_KEYS" in err
    assert "hunter2" not in err


@pytest.mark.parametrize("text", ["hello", "[]", "{}"])
async def test_publish_to_something_else(text: str, gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    """A server that is no gateway is not taken for one."""
    gateway.answer = lambda: web.Response(text=text)
    assert await run("publish", "--broadcast", "--type", "x") == 1
    assert "answered 200, but not as a gateway does: is it the right address?" in capsys.readouterr().err


async def test_publish_without_answer(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A gateway that does not answer in time is given up."""
    monkeypatch.setattr("gateway.cli.publish.PUBLISH_BUDGET", ClientTimeout(total=0.05))
    release = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        assert await run("publish", "--broadcast", "--type", "x", "--url", f"http://127.0.0.1:{port}") == 1
    finally:
        release.set()
        server.close()
    assert capsys.readouterr().err == f"gateway: http://127.0.0.1:{port}: no answer within 0.05 s\n"


async def test_publish_cut_off(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    """A connection that ends without an answer is told in one line."""

    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.close()

    server = await asyncio.start_server(rude, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        assert await run("publish", "--broadcast", "--type", "x", "--url", f"http://127.0.0.1:{port}") == 1
    finally:
        server.close()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"gateway: http://127.0.0.1:{port}: ")


def test_publish_to_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    """When nothing listens, one line says what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening, so connecting to it is refused
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        assert main(["publish", "--broadcast", "--type", "x", "--url", url]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"gateway: {url}: cannot connect (Connection refused); ")
    assert "`gateway serve --dev`" in line


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ('{"a":1', "Expecting ',' delimiter: line 1 column 7 (char 6)"),
        ("NaN", "NaN is not a JSON value"),
        ("[" * 100_000, ""),
    ],
)
def test_publish_bad_json(data: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Data that is not JSON is refused with the place where it stops being JSON."""
    assert main(["publish", "--broadcast", "--type", "x", data]) == 2
    assert capsys.readouterr().err.startswith(f"gateway: DATA is not JSON: {said}")


@pytest.mark.parametrize(("flag", "field"), [("--user", "user_id"), ("--topic", "topic")])
def test_publish_to_an_impossible_target(flag: str, field: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A user or topic outside the grammar is refused before anything is sent."""
    assert main(["publish", flag, "a/b", "--type", "x"]) == 2
    assert capsys.readouterr().err.startswith(f"gateway: {field}: ")


def test_publish_straight_to_a_broker(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A broker's URL cannot be published to over HTTP, and its password is not shown."""
    monkeypatch.setenv("GATEWAY_PUBLISHER_URL", "redis://:hunter2@h")
    assert main(["publish", "--broadcast", "--type", "x"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("gateway: `gateway publish` speaks HTTP and cannot use redis://:********@h: ")


@pytest.mark.parametrize("argv", [["--type", "x"], ["--user", "1", "--broadcast", "--type", "x"], ["--broadcast"]])
def test_publish_needs_one_target_and_a_type(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """publish without exactly one target, or without a type, is refused."""
    with pytest.raises(SystemExit) as caught:
        main(["publish", *argv])
    assert caught.value.code == 2


# --- help


@pytest.mark.parametrize("command", ["serve", "config", "health", "token", "publish", "bench"])
def test_help_shows_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command's help has examples of it."""
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    assert f"\n  gateway {command} " in capsys.readouterr().out.partition("examples:")[2]


def test_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a command the usage is shown."""
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2
    assert "usage: gateway" in capsys.readouterr().err


def test_python_m_gateway(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m gateway` is the same command."""
    monkeypatch.setattr(sys, "argv", ["gateway", "config"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("gateway", run_name="__main__")
    assert caught.value.code == 0
    assert "GATEWAY_HOST" in capsys.readouterr().out
