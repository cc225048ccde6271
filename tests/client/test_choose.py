from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from redis.asyncio import Redis

from gateway.client import SSEEvent, SSEPublisherProtocol, get_sse_publisher
from gateway.config import ConfigError

SLACK = 5.0
EVENT = SSEEvent("sync.completed", "42", {"count": 3})


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment in which nothing is set."""
    for name in [name for name in os.environ if name.startswith("GATEWAY_")]:
        monkeypatch.delenv(name)
    return monkeypatch


async def test_http_from_the_environment(environment: pytest.MonkeyPatch) -> None:
    """An http URL and a key in the environment are all it takes."""
    seen = []

    async def take(request: web.Request) -> web.Response:
        seen.append((request.path, request.headers.get("Authorization")))
        return web.json_response({}, status=202)

    app = web.Application()
    app.router.add_post("/{path:.*}", take)
    async with TestServer(app) as server:
        environment.setenv("GATEWAY_PUBLISHER_URL", str(server.make_url("")))
        environment.setenv("GATEWAY_PUBLISHER_KEY", "from-environment")
        async with get_sse_publisher() as publisher:
            await publisher.publish(EVENT)
        async with get_sse_publisher(key="given") as publisher:
            await publisher.publish(EVENT)
    assert seen == [
        ("/v1/users/42/events", "Bearer from-environment"),
        ("/v1/users/42/events", "Bearer given"),
    ]


async def test_redis_from_the_environment(
    environment: pytest.MonkeyPatch,
    redis_url: str,
    prefix: str,
) -> None:
    """A redis URL publishes under the gateway's prefix and retention, read from the same settings."""
    environment.setenv("GATEWAY_PUBLISHER_URL", redis_url)
    environment.setenv("GATEWAY_CHANNEL_PREFIX", prefix)
    environment.setenv("GATEWAY_RETENTION_TTL", "60")
    async with get_sse_publisher(budget=SLACK) as publisher, Redis.from_url(redis_url) as redis:
        await publisher.publish(EVENT)
        assert 0 < await redis.pttl(f"{prefix}:history:user:42") <= 60_000
        environment.setenv("GATEWAY_RETENTION", "off")
        async with get_sse_publisher(redis_url, budget=SLACK) as unretained:
            await unretained.broadcast(EVENT)
        assert not await redis.exists(f"{prefix}:history:broadcast")
    assert publisher.stats.published == unretained.stats.published == 1


def test_it_connects_to_nothing() -> None:
    """Getting a publisher needs no event loop and no server."""
    for url in ("http://127.0.0.1:1", "redis://127.0.0.1:1"):
        assert isinstance(get_sse_publisher(url), SSEPublisherProtocol)


def test_an_unset_url_says_what_to_set() -> None:
    """Without a URL the error names the setting and gives an example of both kinds."""
    with pytest.raises(ConfigError, match=r"GATEWAY_PUBLISHER_URL.*http://.*redis://"):
        get_sse_publisher()


@pytest.mark.parametrize(
    "url",
    [
        "gateway:8080",
        "memory://",
        "ftp://gateway",
        "http://u:pw@gateway",
        "http://gateway/?a=b",
        "redis://h:nine",
        "redis+sentinel://h:26379",
        "redis+cluster://h:7000/1",
    ],
)
def test_a_bad_url_names_the_setting(url: str, environment: pytest.MonkeyPatch) -> None:
    """A URL that cannot be used is an error at start-up, whether it was given or set."""
    with pytest.raises(ConfigError, match="GATEWAY_PUBLISHER_URL"):
        get_sse_publisher(url)
    environment.setenv("GATEWAY_PUBLISHER_URL", url)
    with pytest.raises(ConfigError, match="GATEWAY_PUBLISHER_URL") as caught:
        get_sse_publisher()
    assert "pw" not in str(caught.value)


def test_a_bad_key_names_the_setting() -> None:
    """A key that no header can carry is an error at start-up that does not repeat it."""
    with pytest.raises(ConfigError, match="GATEWAY_PUBLISHER_KEY") as caught:
        get_sse_publisher("http://gateway", key="s3cret\nX-Admin: yes")
    assert "s3cret" not in str(caught.value)


def test_a_bad_budget_is_not_blamed_on_the_url() -> None:
    """A budget of nothing is an error of its own."""
    with pytest.raises(ValueError, match="budget"):
        get_sse_publisher("http://gateway", budget=0)


def test_importing_and_choosing_load_only_what_is_needed() -> None:
    """The import brings neither aiohttp nor redis; a URL brings its own and not the other."""
    program = """if True:
        import sys
        def loaded():
            return {"aiohttp", "redis"} & set(sys.modules)
        from gateway.client import get_sse_publisher
        assert loaded() == set(), loaded()
        get_sse_publisher("http://127.0.0.1:1")
        assert loaded() == {"aiohttp"}, loaded()
    """
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    program = program.replace("http://127", "redis://127").replace('{"aiohttp"}, ', '{"redis"}, ')
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_publishing_from_a_script(redis_url: str, prefix: str, environment: pytest.MonkeyPatch) -> None:
    """The lines of the guide work as they stand, in a program without a loop of its own."""
    environment.setenv("GATEWAY_PUBLISHER_URL", redis_url)
    environment.setenv("GATEWAY_CHANNEL_PREFIX", prefix)
    publisher = get_sse_publisher(budget=SLACK)
    asyncio.run(publisher.publish(EVENT))
    asyncio.run(publisher.broadcast(EVENT))
    assert publisher.stats.published == 2
