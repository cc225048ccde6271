"""One-time tickets: for one connection, for whoever had a token, for as long as the token is good."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from servers import HOST, free_port
from streams import Stream
from structlog.testing import capture_logs
from web.inprocess import SECRET, Served, bearer, claims, refused_because, served, token

TICKETS = 32


async def asked(served: Served, **request: Any) -> tuple[int, dict[str, Any]]:
    async with served.http.post("/v1/tickets", **request) as response:
        return response.status, await response.json(content_type=None)


async def ticket_for(served: Served, user: str = "alice", **more: Any) -> str:
    status, answer = await asked(served, headers=bearer(token(claims(user, **more))))
    assert status == 201, answer
    return str(answer["ticket"])


async def shown(served: Served, ticket: str, **request: Any) -> tuple[int, str]:
    """The status of a stream request with a ticket that is refused, and what it says."""
    async with served.http.get("/v1/events", params={"ticket": ticket}, **request) as response:
        return response.status, await response.text()


async def test_a_ticket_opens_one_stream(secured: Served) -> None:
    """Who has a token gets a ticket that opens that user's stream, with the token's topics; once."""
    async with secured.http.post("/v1/tickets", headers=bearer(token(claims(topics=["orders.*"])))) as response:
        assert response.status == 201
        assert response.headers["Cache-Control"] == "no-store"
        answer = await response.json()
    assert answer.keys() == {"ticket", "expires_in"}
    assert answer["expires_in"] == 30
    async with Stream(secured.url, f"topic=orders.eu&ticket={answer['ticket']}") as stream:
        await stream.position()
        (connection,) = secured.gateway.hub.connections
        assert connection.channels == ("user:alice", "broadcast", "topic:orders.eu")
        status, said = await shown(secured, answer["ticket"])
        assert status == 401
        assert answer["ticket"] not in said


async def test_a_cookie_gets_one_too(secured: Served) -> None:
    """The token may be in the cookie; without any there is no ticket."""
    status, answer = await asked(secured, cookies={"gateway_token": token(claims())})
    assert status == 201, answer
    assert (await asked(secured))[0] == 401
    assert (await asked(secured, params={"ticket": answer["ticket"]}))[0] == 401


async def test_a_ticket_gives_no_more_than_its_token(secured: Served) -> None:
    """Topics beyond the token's are refused, and the ticket is still good."""
    ticket = await ticket_for(secured, topics=["orders.*"])
    async with secured.http.get("/v1/events", params={"ticket": ticket, "topic": "secret"}) as response:
        assert response.status == 403
    async with Stream(secured.url, f"ticket={ticket}") as stream:
        await stream.position()


@pytest.mark.parametrize("ticket", ["", "x", "../..", "ü\ud800", "a" * 5000, "*", "user:alice"])
async def test_what_is_no_ticket(secured: Served, ticket: str) -> None:
    """Is a 401, also beside a cookie that would do: nobody is served as someone else."""
    query = {"ticket": ticket.encode("utf-8", "surrogatepass").decode("latin-1")}
    cookies = {"gateway_token": token(claims("bob"))}
    async with secured.http.get("/v1/events", params=query, cookies=cookies) as response:
        assert response.status == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"


async def test_the_stream_ends_with_the_token() -> None:
    """What the token said of its end holds for the ticket; a ticket does not outlive it."""
    async with served(jwt_secret=SECRET) as gateway:
        ends = time.time() + 3
        status, answer = await asked(gateway, headers=bearer(token(claims() | {"exp": ends})))
        assert (status, answer["expires_in"]) in ((201, 2), (201, 3))
        async with Stream(gateway.url, f"ticket={answer['ticket']}") as stream:
            await stream.end(within=8)
            assert stream.types == ["gateway.expiring"]
            assert ends - 5 <= (stream.ended_at or 0) <= ends + 1


async def test_too_many_tickets(secured: Served) -> None:
    """One user has so many unused tickets; the next is a 429, and others get theirs."""
    headers = bearer(token(claims()))
    answers = await asyncio.gather(*(asked(secured, headers=headers) for _ in range(TICKETS + 5)))
    assert sorted(status for status, _ in answers) == [201] * TICKETS + [429] * 5
    async with secured.http.post("/v1/tickets", headers=headers) as response:
        assert int(response.headers["Retry-After"]) == 30
        assert (await response.json())["type"] == "urn:event-gateway:problem:rate-limited"
    await ticket_for(secured, "bob")


async def test_a_ticket_waits_for_room() -> None:
    """A user who has too many streams is told to come back, and may, with the same ticket."""
    async with served(jwt_secret=SECRET, max_connections_per_user=1) as gateway:
        ticket = await ticket_for(gateway)
        async with Stream(gateway.url, token=token(claims())) as first:
            await first.position()
            async with Stream(gateway.url, f"ticket={ticket}") as refused:
                await refused.end()
                assert refused.retry is not None
            assert refused_because(gateway, "max_connections_per_user") == 1
            await first.close()
        async with Stream(gateway.url, f"ticket={ticket}") as second:
            await second.position()


async def test_in_development_mode(gateway: Served) -> None:
    """Whoever says who he is gets a ticket."""
    status, answer = await asked(gateway, params={"user": "alice"})
    assert status == 201
    async with Stream(gateway.url, f"ticket={answer['ticket']}") as stream:
        await gateway.publish("alice")
        await stream.next()


async def test_no_ticket_in_the_log(secured: Served) -> None:
    """Neither the ticket nor its digest, whether it is taken or refused."""
    with capture_logs() as logs:
        ticket = await ticket_for(secured)
        async with Stream(secured.url, f"ticket={ticket}") as stream:
            await stream.position()
        assert (await shown(secured, ticket))[0] == 401
        assert ticket not in str(logs)
        assert "stream" in str(logs)


async def test_without_a_broker_there_are_no_tickets() -> None:
    """A 503 for who asks for one, or shows one; an EventSource is told when to come back."""
    port = free_port()
    async with served(jwt_secret=SECRET, broker_url=f"redis://{HOST}:{port}") as gateway:
        async with gateway.http.post("/v1/tickets", headers=bearer(token(claims()))) as response:
            assert response.status == 503
            assert int(response.headers["Retry-After"]) >= 1
            said = await response.text()
        status, more = await shown(gateway, "some-ticket")
        assert status == 503
        assert str(port) not in said + more  # where Redis is, no subscriber is told
        async with Stream(gateway.url, "ticket=some-ticket") as stream:
            await stream.end()
            assert stream.retry is not None
        assert refused_because(gateway, "broker_unavailable") == 2
