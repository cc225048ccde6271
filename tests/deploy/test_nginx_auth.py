"""nginx asks an application who a client is, and the gateway believes nginx: as docs/authentication.md shows it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import Any

import aiohttp
from aiohttp import web
from nginx import NginxServer, needs_nginx
from servers import HOST, ROOT
from streams import Stream
from web.inprocess import SECRET, Served, bearer, claims, served, token

from gateway.config import PublishKey

NO_USER = 'proxy_set_header X-User-Id "";'
TRUSTING: dict[str, Any] = {
    "user_header": "X-User-Id",
    "trusted_proxies": (ip_network("127.0.0.0/8"),),
    "publish_keys": (PublishKey("k", "key"),),
}

pytestmark = needs_nginx


def of_the_page() -> tuple[str, str, str]:
    """The page's pieces of configuration: the header, the location, and the token instead of the header."""
    page = (ROOT / "docs" / "authentication.md").read_text()
    header, location, with_token = re.findall(r"^```nginx\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    return header, location, with_token


@asynccontextmanager
async def application() -> AsyncIterator[int]:
    """Knows sessions: the cookie `session` names the user. Its port."""

    async def whoami(request: web.Request) -> web.Response:
        user = request.cookies.get("session")
        if user is None:
            return web.Response(status=401)
        said = token(claims(user, topics=["news"]))
        return web.Response(headers={"X-User-Id": user, "X-Gateway-Token": said})

    app = web.Application()
    app.router.add_get("/whoami", whoami)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def behind_nginx(directives: str, **settings: Any) -> AsyncIterator[tuple[Served, NginxServer]]:
    _, location, _ = of_the_page()
    async with application() as port, served(**settings) as gateway:
        asking = location.replace("app.internal:8000", f"{HOST}:{port}")
        async with NginxServer(gateway.port, locations=asking, replace={NO_USER: directives}) as nginx:
            yield gateway, nginx


async def status(url: str, **headers: str) -> int:
    async with aiohttp.ClientSession() as http, http.get(f"{url}/v1/events", headers=headers) as response:
        return response.status


async def test_the_user_is_whom_the_application_names() -> None:
    """A session becomes a stream of its user; what the client says of itself is overwritten."""
    header, _, _ = of_the_page()
    async with behind_nginx(header, **TRUSTING) as (gateway, nginx):
        sent = {"Cookie": "session=alice", "X-User-Id": "bob"}
        async with Stream(nginx.url, "user=bob", headers=sent) as stream:
            for user, data in (("bob", 1), ("alice", 2)):
                async with gateway.http.post(
                    f"/v1/users/{user}/events", json={"event_type": "x", "data": data}, headers=bearer("key")
                ) as response:
                    assert response.status == 202
            assert (await stream.next()).data == "2"


async def test_without_a_session_there_is_no_stream() -> None:
    """The application's 401 is the answer, whatever header the client made up."""
    header, _, _ = of_the_page()
    async with behind_nginx(header, **TRUSTING) as (gateway, nginx):
        assert await status(nginx.url) == 401
        assert await status(nginx.url, **{"X-User-Id": "alice"}) == 401
        assert gateway.gateway.hub.connections == set()


async def test_a_token_of_the_application_brings_topics() -> None:
    """Handed on as the credential, it is verified like any other: topics and end included."""
    _, _, with_token = of_the_page()
    directives = NO_USER + with_token
    async with behind_nginx(directives, jwt_secret=SECRET, publish_keys=TRUSTING["publish_keys"]) as (gateway, nginx):
        async with Stream(nginx.url, "topic=news", headers={"Cookie": "session=alice"}) as stream:
            async with gateway.http.post(
                "/v1/topics/news/events", json={"event_type": "x", "data": 1}, headers=bearer("key")
            ) as response:
                assert response.status == 202
            assert (await stream.next()).data == "1"
        assert await status(nginx.url, **bearer(token(claims("bob")))) == 401
