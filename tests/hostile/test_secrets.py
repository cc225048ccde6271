"""No secret is told to anybody: canaries in the place of each, and a look at all that the gateway says."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from hostile.wire_requests import EVENT, PATH
from integration.helping import gateway_command
from servers import HOST, GatewayProcess, RedisServer, free_port, until
from streams import Stream
from web.inprocess import JSON, bearer, claims, token

from gateway.cli import main

SECRET = "canary-jwt-secret-" + "s" * 40
KEY = "canary-publish-key"
PASSWORD = "canary-redis-password"
TICKET = "canary-ticket"
UNSIGNED = "canary-that-is-no-token"

CANARY = re.compile(r"canary[-a-z]*|eyJ[\w-]{10,}(?:\.[\w-]+)*")
"""A secret from here, or a token: all begin with the same header."""

WAITED = 3.0


@dataclass
class Said:
    """All that was said to somebody who is not the owner of the secret in it."""

    texts: dict[str, str] = field(default_factory=dict)

    def check(self) -> None:
        told = {where: sorted(set(CANARY.findall(text))) for where, text in self.texts.items()}
        assert not {where: secrets for where, secrets in told.items() if secrets}
        assert all(self.texts.values()), f"nothing was said: {self.texts.keys()}"


@pytest_asyncio.fixture
async def redis() -> AsyncIterator[RedisServer]:
    async with RedisServer(requirepass=PASSWORD) as server:
        yield server


def production(broker_url: str, **more: str) -> dict[str, str]:
    return {
        "GATEWAY_BROKER_URL": broker_url,
        "GATEWAY_JWT_SECRET": SECRET,
        "GATEWAY_PUBLISH_KEYS": f"one:{KEY}:*",
        "GATEWAY_LOG_LEVEL": "debug",
        "GATEWAY_PUBLISHER_KEY": KEY,
        **more,
    }


def with_password(redis: RedisServer, password: str = PASSWORD) -> str:
    return f"redis://default:{password}@{HOST}:{redis.port}"


def credentials() -> list[dict[str, str]]:
    """Headers, good and bad; each holds a secret."""
    good, expired = token(claims(topics=["a"]), secret=SECRET), token(claims(seconds=-60), secret=SECRET)
    foreign, odd = token(claims(), secret="x" * 40), token({"sub": "canary sub", "exp": 1e999}, secret=SECRET)
    unknown = token(claims(), secret=SECRET, header={"alg": "none", "typ": "JWT", "jku": "http://canary/"})
    shown = [good, expired, foreign, odd, unknown, UNSIGNED, KEY, KEY + "-wrong", f"{good}.{good}", "é" + UNSIGNED]
    headers = [bearer(credential) for credential in shown]
    headers += [{"Cookie": f"gateway_token={credential}"} for credential in shown if credential.isascii()]
    return [*headers, {"Authorization": f"Basic {UNSIGNED}"}, {"Authorization": UNSIGNED}]


async def ask_everything(gateway: GatewayProcess, said: Said) -> None:
    """Every endpoint with every credential; all answers but the tickets that were asked for, and the events."""
    paths = [("GET", path) for path in ("/metrics", "/readyz", "/livez", f"/v1/events?ticket={TICKET}", "/nothing")]
    paths += [
        ("GET", "/v1/events?topic=b"),
        ("GET", "/v1/users/a/presence"),
        ("DELETE", "/v1/users/a/connections?for=x"),
    ]
    paths += [("POST", path) for path in ("/v1/events", "/v1/broadcast", "/v1/users/a/events", "/v1/tickets")]
    async with aiohttp.ClientSession(gateway.url, timeout=aiohttp.ClientTimeout(total=WAITED)) as http:
        for number, headers in enumerate(credentials()):
            for method, path in paths:
                body = EVENT if method == "POST" else None
                async with http.request(method, path, headers=JSON | headers, data=body) as response:
                    if response.status == 201:  # a ticket, for whoever showed a token
                        continue
                    endless = response.status == 200 and path.startswith("/v1/events")
                    text = "" if endless else await response.text()
                    said.texts[f"{method} {path} {number}"] = f"{response.status} {dict(response.headers)} {text}"


async def malformed(gateway: GatewayProcess, said: Said) -> None:
    """The requests that aiohttp tells of by quoting them, in its log and in its answers."""
    shown = b"Authorization: Bearer " + UNSIGNED.encode()
    heads = {
        "folded": shown + b"\r\n folded",
        "a NUL": shown + b"\0",
        "too long": shown + b"-" + UNSIGNED.encode() * 1000,
        "no colon": b"Authorization Bearer " + UNSIGNED.encode(),
        "bare LF": shown + b"\n" + shown,
        "in the line": b"X: y",
        "in a length": b"Content-Length: " + UNSIGNED.encode(),
    }
    for name, head in heads.items():
        query = b"?ticket=" + UNSIGNED.encode() + b"\0" if name == "in the line" else b""
        reader, writer = await asyncio.open_connection(HOST, gateway.port)
        writer.write(b"POST " + PATH + query + b" HTTP/1.1\r\nHost: g\r\n" + head + b"\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            answer = await asyncio.wait_for(reader.read(), WAITED)
            assert b" 4" in answer[:12]
            said.texts[f"malformed: {name}"] = answer.decode()
        writer.close()


async def test_a_run_with_everything_that_goes_wrong(redis: RedisServer, tmp_path: Path) -> None:
    """Log (at level debug), answers, metrics and readiness hold no secret: Redis there, then gone, then refusing."""
    said = Said()
    settings = production(with_password(redis))
    async with GatewayProcess(settings) as gateway:
        async with Stream(gateway.url, token=token(claims(), secret=SECRET)) as stream:
            await ask_everything(gateway, said)
            await malformed(gateway, said)
            await stream.position()
        redis.kill()
        await until(lambda: "link_lost" in gateway.log or "link_down" in gateway.log, what="the link's loss is noticed")
        async with aiohttp.ClientSession(gateway.url) as http:
            post = http.post("/v1/users/a/events", data=EVENT, headers=JSON | bearer(KEY))
            async with post as response:
                assert response.status == 503
                said.texts["no Redis"] = await response.text()
            async with http.get("/readyz") as response:
                said.texts["not ready"] = await response.text()
        gateway.terminate()
        await gateway.wait()
        said.texts["log"] = gateway.log
    said.check()


@pytest.mark.parametrize("kind", ["wrong password", "no password", "unreachable", "a name that is none", "not Redis"])
async def test_a_broker_that_cannot_be_used(redis: RedisServer, kind: str) -> None:
    """Whatever is wrong with it is told without the password, also the wrong one."""
    url = {
        "wrong password": with_password(redis, f"{PASSWORD}-wrong"),
        "no password": f"redis://{HOST}:{redis.port}",
        "unreachable": f"redis://:{PASSWORD}@{HOST}:{free_port()}",
        "a name that is none": f"redis://:{PASSWORD}@no-such-host.invalid:6379",
        "not Redis": "",
    }[kind]
    said = Said()

    async def banner(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        with contextlib.suppress(ConnectionError):
            while await reader.read(4096):
                pass
        writer.close()

    server = await asyncio.start_server(banner, HOST, 0)
    url = url or f"redis://:{PASSWORD}@{HOST}:{server.sockets[0].getsockname()[1]}"
    async with server, GatewayProcess(production(url), wait_for="/livez") as gateway:
        await until(lambda: "broker.link" in gateway.log, what="the trouble is logged")
        async with aiohttp.ClientSession(gateway.url) as http:
            async with http.get("/readyz") as response:
                assert response.status == 503
                said.texts["readyz"] = await response.text()
            async with http.post("/v1/users/a/events", data=EVENT, headers=JSON | bearer(KEY)) as response:
                assert response.status == 503
                said.texts["publish"] = await response.text()
        said.texts["log"] = gateway.log
        published = await gateway_command(
            "publish",
            "--user",
            "a",
            "--type",
            "x",
            "1",
            env={"GATEWAY_PUBLISHER_URL": url} | {"GATEWAY_PUBLISHER_KEY": ""},
        )
        assert published.status != 0
        said.texts["gateway publish"] = published.out + published.err
    said.check()


BAD = {
    "GATEWAY_JWT_SECRET": "canary-short",
    "GATEWAY_JWT_PUBLIC_KEY": "-----BEGIN PUBLIC KEY-----\ncanary\n-----END PUBLIC KEY-----",
    "GATEWAY_PUBLISH_KEYS": f"one:{KEY}:no-such-scope",
    "GATEWAY_BROKER_URL": f"redis://user:{PASSWORD}@{HOST}:not-a-port/x",
    "GATEWAY_PUBLISHER_KEY": "canary key",
    "GATEWAY_PUBLISHER_URL": f"ftp://user:{PASSWORD}@{HOST}/",
    "GATEWAY_JWT_SECRETS": SECRET,
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("how", ["environment", "file", "flag", "secret file"])
def test_a_setting_that_is_wrong(
    tmp_path: Path, name: str, how: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A start-up error names the setting and never its value."""
    monkeypatch.setattr("gateway.telemetry.logging.configure", lambda **_: None)
    value, path, secret = BAD[name], tmp_path / "gateway.toml", tmp_path / "secret"
    path.write_text(f"{name} = '''{value}'''\n")
    secret.write_text(value)
    env = {key: given for key, given in production("memory://").items() if key not in name}
    env |= {"environment": {name: value}, "secret file": {f"{name}_FILE": str(secret)}}.get(how, {})
    for key, given in env.items():
        monkeypatch.setenv(key, given)
    words = {"file": ["--config", str(path)], "flag": ["--set", f"{name}={value}"]}.get(how, [])
    assert main(["serve", *words]) == 2
    told = capsys.readouterr()
    assert name in told.err
    Said({"stderr": told.err, "both": told.out + told.err}).check()


async def test_the_settings_in_force(redis: RedisServer) -> None:
    """`gateway config` hides them, as text and as JSON."""
    env = production(with_password(redis), GATEWAY_PUBLISHER_URL=with_password(redis))
    said = Said()
    for words in (["config"], ["config", "--json"]):
        outcome = await gateway_command(*words, env=env)
        assert outcome.status == 0
        said.texts[" ".join(words)] = outcome.out + outcome.err
    said.check()


async def test_a_secret_on_the_command_line_is_warned_of() -> None:
    """Everybody on a machine can read the command lines; that is said, and how to do better."""
    outcome = await gateway_command("config", "--set", f"jwt_secret={SECRET}", "--broker-url", "redis://127.0.0.1")
    assert outcome.status == 0
    assert "GATEWAY_JWT_SECRET was given on the command line" in outcome.err
    assert "GATEWAY_JWT_SECRET_FILE" in outcome.err
    assert "GATEWAY_BROKER_URL" not in outcome.err  # there is no password in it
    Said({"all": outcome.out + outcome.err}).check()
    outcome = await gateway_command("config", "--broker-url", f"redis://:{PASSWORD}@127.0.0.1")
    assert "GATEWAY_BROKER_URL_FILE" in outcome.err
    Said({"all": outcome.out + outcome.err}).check()
