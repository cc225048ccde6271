"""Presence, and sending users away: what publishers may do about a user."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from servers import HOST, free_port, until
from streams import Stream
from structlog.testing import capture_logs
from web.inprocess import Served, bearer, claims, closed_because, refused_because, served, token

from gateway.hub import CloseReason

ALICE = "/v1/users/alice/"


async def asked(served: Served, method: str, path: str, **request: Any) -> tuple[int, dict[str, Any]]:
    async with served.http.request(method, path, **request) as response:
        return response.status, await response.json(content_type=None)


async def sent_away(served: Served, query: str = "") -> int:
    """How many streams the user had."""
    status, answer = await asked(served, "DELETE", f"{ALICE}connections{query}")
    assert status == 202, answer
    assert answer.keys() == {"connections"}
    return int(answer["connections"])


async def test_presence(gateway: Served) -> None:
    """A user is online while there are streams; how many there are is told, and nothing may be cached."""
    assert await asked(gateway, "GET", ALICE + "presence") == (200, {"online": False, "connections": 0})
    async with Stream(gateway.url, "user=alice"), Stream(gateway.url, "user=alice"), Stream(gateway.url, "user=bob"):
        assert await asked(gateway, "GET", ALICE + "presence") == (200, {"online": True, "connections": 2})
        async with gateway.http.get(ALICE + "presence") as response:
            assert response.headers["Cache-Control"] == "no-store"
    await until(lambda: not gateway.gateway.hub.connections)
    assert await asked(gateway, "GET", ALICE + "presence") == (200, {"online": False, "connections": 0})


@pytest.mark.parametrize(("method", "path"), [("GET", "presence"), ("DELETE", "connections")])
async def test_who_may(secured: Served, method: str, path: str) -> None:
    """Only a publisher who may publish to that user; a subscriber's token has no scope."""
    statuses = {
        key: (await asked(secured, method, ALICE + path, headers=bearer(key)))[0]
        for key in ("key-for-all", "key-for-users", "key-for-alice", "key-for-orders", token(claims()), "other")
    }
    assert list(statuses.values()) == [{"GET": 200, "DELETE": 202}[method]] * 3 + [403, 403, 401]
    assert (await asked(secured, method, ALICE + path))[0] == 401
    assert (await asked(secured, method, f"/v1/users/bob/{path}", headers=bearer("key-for-alice")))[0] == 403
    assert (await asked(secured, method, f"/v1/users/a%20b/{path}", headers=bearer("key-for-all")))[0] == 400


async def test_streams_end(gateway: Served) -> None:
    """All of the user's streams end whole, others stay, and the user may come back at once."""
    async with (
        Stream(gateway.url, "user=alice") as one,
        Stream(gateway.url, "user=alice&topic=t") as two,
        Stream(gateway.url, "user=bob") as other,
    ):
        assert await sent_away(gateway) == 2
        for stream in (one, two):
            await stream.end(within=2)
            assert not stream.cut
        assert closed_because(gateway, "revoked") == 2
        async with Stream(gateway.url, "user=alice") as again:
            await gateway.publish("alice")
            await again.next()
        assert other.ended_at is None
        assert await sent_away(gateway) == 0


async def test_kept_away(gateway: Served) -> None:
    """With `for`, whoever comes back is answered 204, until the time is over or it is taken back."""
    async with Stream(gateway.url, "user=alice") as stream:
        assert await sent_away(gateway, "?for=600") == 1
        await stream.end(within=2)
        for accept in ("text/event-stream", "*/*"):
            async with gateway.http.get("/v1/events?user=alice", headers={"Accept": accept}) as response:
                assert response.status == 204
                assert response.headers["Cache-Control"] == "no-store"
                assert await response.read() == b""
        assert refused_because(gateway, "kept_away") == 2
        async with Stream(gateway.url, "user=bob") as other:
            await other.position()
        assert await sent_away(gateway, "?for=0") == 0
        async with Stream(gateway.url, "user=alice") as again:
            await again.position()


async def test_a_valid_token_or_ticket_does_not_help(secured: Served) -> None:
    """Neither is let in while the user is kept away; a ticket from before is void for good."""
    headers = bearer(token(claims()))
    _, ticket = await asked(secured, "POST", "/v1/tickets", headers=headers)
    key = bearer("key-for-alice")
    assert (await asked(secured, "DELETE", ALICE + "connections?for=600", headers=key))[0] == 202
    async with secured.http.get("/v1/events", headers=headers) as response:
        assert response.status == 204
    query = {"ticket": ticket["ticket"]}
    async with secured.http.get("/v1/events", params=query) as response:
        assert response.status == 204
    assert (await asked(secured, "POST", "/v1/tickets", headers=headers))[0] == 403
    assert (await asked(secured, "DELETE", ALICE + "connections?for=0", headers=key))[0] == 202
    async with secured.http.get("/v1/events", params=query) as response:
        assert response.status == 401
    async with Stream(secured.url, token=token(claims())) as stream:
        await stream.position()


@pytest.mark.parametrize("given", ["", "-1", "1.5", "1e3", "x", "2592001", "9" * 4000, "0x10", "٣", "10&for=20"])
async def test_a_bad_time_is_named(gateway: Served, given: str) -> None:
    """And nobody is sent away."""
    async with Stream(gateway.url, "user=alice") as stream:
        status, answer = await asked(gateway, "DELETE", f"{ALICE}connections?for={given}")
        assert (status, answer["field"]) == (400, "for")
        assert "GATEWAY_MAX_AWAY_SECONDS" in answer["detail"]
        await gateway.publish("alice")
        await stream.next()


async def test_an_unknown_parameter_is_named(gateway: Served) -> None:
    """One that is misspelt is not taken for none."""
    status, answer = await asked(gateway, "DELETE", ALICE + "connections?For=600")
    assert (status, answer["field"]) == (400, "For")


async def test_a_stream_that_is_about_to_begin_ends_too() -> None:
    """One that was let in and still waits for its position is found: nobody slips in between."""
    async with served(broker_url=f"redis://{HOST}:{free_port()}") as gateway:
        opening = asyncio.create_task(Stream(gateway.url, "user=alice").open())
        await until(lambda: gateway.gateway.hub.connections, what="it waits")
        gateway.gateway.hub.close("user:alice", CloseReason.REVOKED)
        stream = await opening
        await stream.end()
        assert closed_because(gateway, "revoked") == 1
        await stream.close()


async def test_it_is_attributable(secured: Served) -> None:
    """The log names the key that did it, and the user by hash only."""
    with capture_logs() as logs:
        await asked(secured, "DELETE", ALICE + "connections?for=60", headers=bearer("key-for-alice"))
    (line,) = [line for line in logs if line["event"] == "user.sent_away"]
    assert (line["key"], line["seconds"], line["connections"]) == ("alice", 60, 0)
    assert "key-for-alice" not in str(logs)


async def test_without_a_broker_it_is_not_known() -> None:
    """503 for both: what was not told to all is not called done."""
    async with served(broker_url=f"redis://{HOST}:{free_port()}") as gateway:
        for method, path in (("GET", "presence"), ("DELETE", "connections")):
            status, answer = await asked(gateway, method, ALICE + path)
            assert (status, answer["type"]) == (503, "urn:event-gateway:problem:broker-unavailable")
