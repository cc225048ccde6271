"""A newcomer's mistakes, one by one: commands and HTTP answers tell what is wrong, and what to do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import jwt
import pytest
import pytest_asyncio
from integration.helping import over, status_of
from servers import HOST, GatewayProcess, RedisServer, free_port, until
from web.inprocess import Served, served

from gateway.cli import main
from gateway.config import PublishKey

SECRET = "a-secret-of-the-tests-that-is-long-enough"
KEY = "a-key-of-the-tests"
EVENT = {"event_type": "greeting", "data": {"text": "hello"}}
PUBLISH = ("publish", "--user", "42", "--type", "greeting", "{}")


@pytest_asyncio.fixture
async def gateway() -> AsyncIterator[Served]:
    """As in production."""
    async with served(jwt_secret=SECRET, publish_keys=(PublishKey("all", KEY),)) as running:
        yield running


def token(*, secret: str = SECRET, seconds: float = 600) -> str:
    return jwt.encode({"sub": "42", "exp": time.time() + seconds}, secret, algorithm="HS256")


def bearer(credential: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential}"}


class Commands:
    """Commands as people give them, but in this process, which saves a second each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    async def run(self, *argv: str, status: int, **env: str) -> tuple[str, str]:
        """Its stdout and stderr; no secret is in them."""
        self._capsys.readouterr()
        with self._monkeypatch.context() as environment:
            for name, value in env.items():
                environment.setenv(name, value)
            ended = await asyncio.to_thread(main, list(argv))
        out, err = self._capsys.readouterr()
        assert ended == status, (out, err)
        for secret in (SECRET, KEY, "hunter2"):
            assert secret not in out + err
        return out, err

    async def told(self, *argv: str, status: int = 1, **env: str) -> str:
        """The line that it ends with."""
        _, err = await self.run(*argv, status=status, **env)
        return err.splitlines()[-1].removeprefix("gateway: ")


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(monkeypatch, capsys)


async def answered(method: str, url: str, status: int, **request: Any) -> str:
    """The detail of the problem that a request is answered with."""
    async with aiohttp.ClientSession() as http, http.request(method, url, **request) as response:
        assert response.status == status, await response.text()
        assert response.content_type == "application/problem+json"
        return str((await response.json())["detail"])


async def test_a_wrong_port(commands: Commands) -> None:
    """Nobody listens there: start a gateway, or give another address."""
    url = f"http://{HOST}:{free_port()}"
    for command in ((*PUBLISH, "--url", url), ("tail", "--user", "42", "--url", url)):
        line = await commands.told(*command)
        assert line.startswith(f"{url}: cannot connect (Connection refused); start a gateway there with")
        assert "`gateway serve --dev`" in line
        assert "--url" in line
    line = await commands.told("doctor", url, status=2)
    assert "cannot connect (Connection refused); is the port right" in line


async def test_the_port_of_something_else(redis_url: str, commands: Commands) -> None:
    """Redis listens there, or a web server: it is asked whether that is a gateway."""
    url = redis_url.replace("redis://", "http://")
    for command in ((*PUBLISH, "--url", url), ("tail", "--user", "42", "--url", url)):
        assert "is it a gateway's address and port?" in await commands.told(*command)
    assert "is it the address and port of a gateway" in await commands.told("doctor", url, status=2)


async def test_no_token(gateway: Served, commands: Commands) -> None:
    """How to send one, and what makes one; and why what worked in development mode does not."""
    url = f"{gateway.url}/v1/events"
    detail = await answered("GET", url, 401)
    assert detail.startswith("send a token as 'Authorization: Bearer …' or in the cookie gateway_token; ")
    assert "`gateway token --user 42` makes one" in detail
    assert "The parameter user is for development mode" in await answered("GET", f"{url}?user=42", 401)
    assert "POST /v1/tickets gives a ticket" in await answered("GET", f"{url}?token={token()}", 401)
    line = await commands.told("tail", "--url", gateway.url, "--user", "42")
    assert line.startswith(f"{gateway.url}: 401 send a token as")
    assert "give --token, or set the gateway's GATEWAY_JWT_SECRET here too" in line
    line = await commands.told("tail", "--url", gateway.url, status=2)
    assert line.startswith("who are you? Give --user 42")


async def test_an_expired_token(gateway: Served, commands: Commands) -> None:
    """Since when, and how to get another."""
    old = token(seconds=-90)
    detail = await answered("GET", f"{gateway.url}/v1/events", 401, headers=bearer(old))
    assert detail.startswith("the token has expired, 9")
    assert detail.endswith(" s ago; get a new one")
    line = await commands.told("tail", "--url", gateway.url, "--token", old)
    assert "401 the token has expired, " in line
    assert "`gateway token --user 42` makes one" in line
    line = await commands.told("doctor", gateway.url, "--token", old, status=2)
    assert line.startswith("the token expired 9")
    assert "`gateway token --user 42` makes one" in line


async def test_a_token_of_another_secret(gateway: Served, commands: Commands) -> None:
    """It was signed with another key."""
    strange = token(secret="hunter2-hunter2-hunter2-hunter2-hunter2")
    detail = await answered("GET", f"{gateway.url}/v1/events", 401, headers=bearer(strange))
    assert detail == "the token's signature does not verify: it was signed with another key than this gateway's"
    line = await commands.told("tail", "--url", gateway.url, "--token", strange)
    assert "`gateway token --user 42` makes one, with this gateway's GATEWAY_JWT_SECRET" in line


async def test_a_wrong_key(gateway: Served, commands: Commands) -> None:
    """None, one that is not the gateway's, or a subscriber's token: each in its own words."""
    url = f"{gateway.url}/v1/users/42/events"
    detail = await answered("POST", url, 401, json=EVENT)
    assert detail == "send a publish key, one of GATEWAY_PUBLISH_KEYS, as 'Authorization: Bearer …'"
    detail = await answered("POST", url, 401, json=EVENT, headers=bearer("hunter2"))
    assert detail.endswith("is no publish key of this gateway (GATEWAY_PUBLISH_KEYS)")
    detail = await answered("POST", url, 403, json=EVENT, headers=bearer(token()))
    assert detail.endswith("send a publish key, or a token with a scope")
    line = await commands.told(*PUBLISH, "--url", gateway.url)
    assert "401 Authentication is required" in line
    assert "give a publisher key with --publish-key or GATEWAY_PUBLISHER_KEY" in line
    line = await commands.told(*PUBLISH, "--url", gateway.url, GATEWAY_PUBLISHER_KEY="hunter2")
    assert "the gateway takes the keys of its GATEWAY_PUBLISH_KEYS" in line


@pytest.mark.slow
async def test_redis_is_not_running(prefix: str, commands: Commands) -> None:
    """At the start: the gateway runs, is not ready, and says why; publishers are told; it comes back by itself."""
    async with RedisServer() as redis:
        redis.kill()
        settings = over(redis.url, prefix, GATEWAY_JWT_SECRET=SECRET, GATEWAY_PUBLISH_KEYS=KEY)
        async with GatewayProcess(settings, wait_for="/livez") as gateway:
            await until(lambda: "broker.link_down" in gateway.log)
            assert f"cannot connect to {redis.host}:{redis.port}: nobody listens there (is Redis running" in gateway.log
            url = f"{gateway.url}/v1/users/42/events"
            detail = await answered("POST", url, 503, json=EVENT, headers=bearer(KEY))
            assert detail.startswith("Redis did not take the event: nobody listens there (is Redis running")
            line = await commands.told(*PUBLISH, "--url", gateway.url, GATEWAY_PUBLISHER_KEY=KEY)
            assert "503 The broker is unavailable: Redis did not take the event" in line
            assert "/readyz says more" in line
            line = await commands.told("health", "--ready", "--port", str(gateway.port))
            assert line.startswith("/readyz says 503: broker: cannot connect to")
            await redis.start()
            await until(lambda: ready(gateway), within=20, what="the gateway comes back to Redis")
            await commands.run(*PUBLISH, "--url", gateway.url, status=0, GATEWAY_PUBLISHER_KEY=KEY)


async def ready(gateway: GatewayProcess) -> bool:
    status, _ = await status_of(gateway.url, "/readyz")
    return status == 200


async def test_a_page_of_another_origin(gateway: Served, commands: Commands) -> None:
    """The preflight says what lets it in; so does the log, since the page cannot see why; and so does the doctor."""
    origin = "https://app.example.com"
    asking = {"Origin": origin, "Access-Control-Request-Method": "GET"}
    detail = await answered("OPTIONS", f"{gateway.url}/v1/events", 403, headers=asking)
    assert detail == f"pages of {origin} may not ask here: GATEWAY_CORS_ORIGINS names those that may"
    flags = ("--token", token(), "--origin", origin, "--idle", "0.1", "--connections", "1")
    out, _ = await commands.run("doctor", gateway.url, *flags, status=1)
    assert f"GATEWAY_CORS_ORIGINS={origin}" in out


async def test_a_user_who_is_not_there(gateway: Served, commands: Commands) -> None:
    """It is no error: the event is kept, nobody heard it, and both are said."""
    out, _ = await commands.run(*PUBLISH, "--url", gateway.url, status=0, GATEWAY_PUBLISHER_KEY=KEY)
    assert out.endswith("; nobody is online for it, so it waits in the history\n")
    url = f"{gateway.url}/v1/users/42/events"
    async with gateway.http.post(url, json=EVENT, headers=bearer(KEY)) as response:
        assert response.status == 202
        assert (await response.json())["receivers"] == 0
    line = await commands.told("publish", "--user", "4 2", "--type", "x", "{}", status=2)
    assert line.startswith("user_id: must be 1 to 128 of the characters")
