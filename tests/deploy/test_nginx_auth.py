"""nginx asks an application who a client is, and the gateway believes nginx: deploy/nginx/auth_request."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import Any

import aiohttp
from aiohttp import web
from nginx import SHIPPED, NginxServer, needs_nginx
from servers import HOST, ROOT, free_port
from streams import Stream
from web.inprocess import SECRET, Served, bearer, claims, served, token

from gateway.config import PublishKey

PAGE = ROOT / "docs" / "authentication.md"
USER = SHIPPED / "auth_request" / "user.conf"
APPLICATION = "app.internal:8000"
TRUSTING: dict[str, Any] = {
    "user_header": "X-User-Id",
    "trusted_proxies": (ip_network("127.0.0.0/8"),),
    "publish_keys": (PublishKey("k", "key"),),
}

pytestmark = needs_nginx


def token_variant() -> str:
    """What docs/authentication.md has instead of the shipped user.conf."""
    (directives,) = re.findall(r"^```nginx\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return str(directives)


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
async def behind_nginx(user: str = "", **settings: Any) -> AsyncIterator[tuple[Served, NginxServer]]:
    """`user` stands instead of the shipped user.conf."""
    async with application() as port, served(**settings) as gateway:
        replace = {APPLICATION: f"{HOST}:{port}"} | ({USER.read_text(): user} if user else {})
        async with NginxServer(gateway.port, overlays=["auth_request"], replace=replace) as nginx:
            yield gateway, nginx


async def status(url: str, **headers: str) -> int:
    async with aiohttp.ClientSession() as http, http.get(f"{url}/v1/events", headers=headers) as response:
        return response.status


async def test_the_user_is_whom_the_application_names() -> None:
    """A session becomes a stream of its user; what the client says of itself is overwritten."""
    async with behind_nginx(**TRUSTING) as (gateway, nginx):
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
    async with behind_nginx(**TRUSTING) as (gateway, nginx):
        assert await status(nginx.url) == 401
        assert await status(nginx.url, **{"X-User-Id": "alice"}) == 401
        assert gateway.gateway.hub.connections == set()


async def test_a_token_of_the_application_brings_topics() -> None:
    """Handed on as the credential, it is verified like any other: topics and end included."""
    async with behind_nginx(token_variant(), jwt_secret=SECRET, publish_keys=TRUSTING["publish_keys"]) as (
        gateway,
        nginx,
    ):
        async with Stream(nginx.url, "topic=news", headers={"Cookie": "session=alice"}) as stream:
            async with gateway.http.post(
                "/v1/topics/news/events", json={"event_type": "x", "data": 1}, headers=bearer("key")
            ) as response:
                assert response.status == 202
            assert (await stream.next()).data == "1"
        assert await status(nginx.url, **bearer(token(claims("bob")))) == 401


async def test_an_application_that_is_away_is_not_fatal() -> None:
    """While nobody can say who a client is, an EventSource is told to come again."""
    async with served(**TRUSTING) as gateway:
        nowhere = {APPLICATION: f"{HOST}:{free_port()}"}
        async with (
            NginxServer(gateway.port, overlays=["auth_request"], replace=nowhere) as nginx,
            aiohttp.ClientSession() as http,
            http.get(f"{nginx.url}/v1/events") as response,
        ):
            assert response.status == 200
            assert (await response.text()).startswith("retry:")
        assert gateway.gateway.hub.connections == set()


async def test_the_application_is_not_open_from_outside() -> None:
    """Its location is for nginx' own questions."""
    async with (
        behind_nginx(**TRUSTING) as (_, nginx),
        aiohttp.ClientSession(cookies={"session": "alice"}) as http,
        http.get(f"{nginx.url}/_who") as response,
    ):
        assert response.status == 404


async def test_a_ticket_is_for_whom_the_application_names() -> None:
    """`POST /v1/tickets` is asked about as a stream is; the ticket opens a stream of that user's."""
    async with behind_nginx(**TRUSTING) as (gateway, nginx), aiohttp.ClientSession(nginx.url) as http:
        async with http.post("/v1/tickets") as response:
            assert response.status == 401
        async with http.post("/v1/tickets", headers={"Cookie": "session=alice", "X-User-Id": "bob"}) as response:
            assert response.status == 201, await response.text()
            ticket = (await response.json())["ticket"]
        async with Stream(gateway.url, f"ticket={ticket}") as stream:
            await stream.position()
            (connection,) = gateway.gateway.hub.connections
            assert "user:alice" in connection.channels
