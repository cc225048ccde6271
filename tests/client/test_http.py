from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port
from pytest_aiohttp import AiohttpServer
from structlog.typing import EventDict

from gateway.client import FailOpenPublisher, SSEEvent
from gateway.client.breaker import Breaker
from gateway.client.http import HttpTransport
from gateway.errors import BrokerUnavailable, GatewayError, InvalidRequest, RateLimited

SLACK = 5.0
EVENT = SSEEvent("sync.completed", "42", {"count": 3}, key="sync")

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Gateway:
    """A server that remembers what it was sent, and answers in turn what it is told; at last 202."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self.requests: list[web.Request] = []
        self.bodies: list[bytes] = []
        self.app = web.Application()
        self.app.router.add_route("*", "/{path:.*}", self._handle)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        self.bodies.append(await request.read())
        return await (self._answers.pop(0) if self._answers else accepted)(request)

    @property
    def keys(self) -> list[str]:
        return [request.headers["Idempotency-Key"] for request in self.requests]


async def accepted(request: web.Request) -> web.Response:
    return web.json_response({"id": "1-0", "receivers": 1}, status=202)


async def hang(request: web.Request) -> web.Response:
    await asyncio.Event().wait()
    raise AssertionError


async def lose_the_reply(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.close()
    return await accepted(request)


def answer(status: int, *, body: bytes = b"", type: str = "text/plain", **headers: str) -> Answer:
    async def handle(request: web.Request) -> web.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, body=body, content_type=type, headers=named)

    return handle


def problem(status: int, detail: str) -> Answer:
    body = json.dumps({"type": "about:blank", "status": status, "title": "No", "detail": detail}).encode()
    return answer(status, body=body, type="application/problem+json")


async def send(aiohttp_server: AiohttpServer, gateway: Gateway, channel: str = "user:42") -> None:
    server = await aiohttp_server(gateway.app)
    transport = HttpTransport(str(server.make_url("")))
    try:
        async with asyncio.timeout(SLACK):
            await transport.send(channel, EVENT, "key-1")
    finally:
        await transport.close()


async def refusal(aiohttp_server: AiohttpServer, gateway: Gateway) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        await send(aiohttp_server, gateway)
    return caught.value


async def test_a_request_as_the_gateway_reads_it(aiohttp_server: AiohttpServer) -> None:
    """The path names the target, headers the key and the idempotency key, and the body is the event."""
    gateway = Gateway()
    server = await aiohttp_server(gateway.app)
    transport = HttpTransport(str(server.make_url("")), "s3cret")
    for channel in ("user:42", "user:a@b:c", "broadcast", "topic:orders.eu"):
        await transport.send(channel, EVENT, "key-1")
    await transport.close()
    assert [request.raw_path for request in gateway.requests] == [
        "/v1/users/42/events",
        "/v1/users/a@b:c/events",
        "/v1/broadcast",
        "/v1/topics/orders.eu/events",
    ]
    for request, body in zip(gateway.requests, gateway.bodies, strict=True):
        assert request.method == "POST"
        assert request.headers["Authorization"] == "Bearer s3cret"
        assert request.headers["Idempotency-Key"] == "key-1"
        assert request.content_type == "application/json"
        assert SSEEvent.from_envelope(json.loads(body)) == EVENT


async def test_without_a_key_there_is_no_authorization(aiohttp_server: AiohttpServer) -> None:
    """A development gateway needs no key and is shown none."""
    gateway = Gateway()
    await send(aiohttp_server, gateway)
    assert "Authorization" not in gateway.requests[0].headers


async def test_the_path_is_the_target(aiohttp_server: AiohttpServer) -> None:
    """An event about one user that is sent to another goes to the other's path as it is."""
    gateway = Gateway()
    await send(aiohttp_server, gateway, "user:7")
    assert gateway.requests[0].raw_path == "/v1/users/7/events"
    assert json.loads(gateway.bodies[0])["user_id"] == "42"


async def test_an_address_with_a_path(aiohttp_server: AiohttpServer) -> None:
    """A gateway below a path of a shared host is found there."""
    gateway = Gateway()
    server = await aiohttp_server(gateway.app)
    transport = HttpTransport(str(server.make_url("/push/")))
    await transport.send("broadcast", EVENT, "key-1")
    await transport.close()
    assert gateway.requests[0].raw_path == "/push/v1/broadcast"


async def test_a_connection_is_used_again(aiohttp_server: AiohttpServer) -> None:
    """Requests that follow each other share a connection, refusals included."""
    gateway = Gateway(accepted, problem(400, "no"), accepted)
    server = await aiohttp_server(gateway.app)
    publisher = FailOpenPublisher(HttpTransport(str(server.make_url(""))))
    for _ in range(3):
        await publisher.publish(EVENT)
    await publisher.close()
    assert len(gateway.requests) == 3
    assert len({id(request.protocol) for request in gateway.requests}) == 1


@pytest.mark.parametrize("user", [".", ".."])
async def test_a_user_that_a_path_cannot_name(user: str, aiohttp_server: AiohttpServer) -> None:
    """A dot segment would be taken for another path, so it is refused before it is sent."""
    gateway = Gateway()
    with pytest.raises(InvalidRequest):
        await send(aiohttp_server, gateway, f"user:{user}")
    assert gateway.requests == []


@pytest.mark.parametrize("status", [400, 401, 403, 409, 413, 415, 429])
async def test_each_refusal_is_its_error(status: int, aiohttp_server: AiohttpServer) -> None:
    """A status of the API becomes the error of that status, with what the problem document says."""
    error = await refusal(aiohttp_server, Gateway(problem(status, "because")))
    assert (error.status, error.detail) == (status, "because")


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408])
async def test_a_failure_of_the_other_side_may_pass(status: int, aiohttp_server: AiohttpServer) -> None:
    """Server errors say nothing about the event; another try may succeed."""
    error = await refusal(aiohttp_server, Gateway(answer(status)))
    assert isinstance(error, BrokerUnavailable)
    assert (error.detail, error.retry_after) == (f"HTTP {status}", None)


@pytest.mark.parametrize("status", [200, 204, 302, 404, 405])
async def test_what_is_no_gateway_is_said_to_be_none(status: int, aiohttp_server: AiohttpServer) -> None:
    """An answer that the API does not have points to the address, even when it is a success or a redirect."""
    gateway = Gateway(answer(status, Location="/login"))
    error = await refusal(aiohttp_server, gateway)
    assert isinstance(error, InvalidRequest)
    assert f"HTTP {status}" in error.detail and "GATEWAY_PUBLISHER_URL" in error.detail
    assert len(gateway.requests) == 1


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("-1", None), ("²", None)]
)
async def test_retry_after_in_seconds(header: str, seconds: float, aiohttp_server: AiohttpServer) -> None:
    """Seconds to wait are passed on; a date or nonsense is not."""
    gateway = Gateway(answer(429, Retry_After=header))
    error = await refusal(aiohttp_server, gateway)
    assert isinstance(error, RateLimited)
    assert error.retry_after == seconds


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b'{"detail":null}', b"[" * 50_000])
async def test_a_broken_problem_document(body: bytes, aiohttp_server: AiohttpServer) -> None:
    """A problem document that cannot be read leaves the status to go by."""
    error = await refusal(aiohttp_server, Gateway(answer(400, body=body, type="application/problem+json")))
    assert error.detail == "HTTP 400"


async def test_other_bodies_are_not_repeated(aiohttp_server: AiohttpServer) -> None:
    """What is not a problem document may hold anything, and stays out of the error."""
    error = await refusal(aiohttp_server, Gateway(answer(403, body=b"<html>secret", type="text/html")))
    assert error.detail == "HTTP 403"


async def test_nobody_listens() -> None:
    """A refused connection is a failure that may pass."""
    transport = HttpTransport(f"http://127.0.0.1:{unused_port()}")
    with pytest.raises(BrokerUnavailable, match=r"cannot connect \(Connection refused\)") as caught:
        await transport.send("user:42", EVENT, "key-1")
    assert caught.value.retry_after is None
    await transport.close()


async def test_an_answer_that_is_not_http() -> None:
    """Garbage is a failure that may pass, and its error does not quote the URL with the user's id."""

    async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(EVENT.to_envelope())
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(garbage, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    transport = HttpTransport(f"http://127.0.0.1:{port}")
    with pytest.raises(BrokerUnavailable, match="what answers there does not speak HTTP") as caught:
        await transport.send("user:alice", EVENT, "key-1")
    assert "alice" not in str(caught.value)
    await transport.close()
    server.close()


async def test_a_lost_reply_makes_no_second_event(aiohttp_server: AiohttpServer) -> None:
    """When the connection breaks after the event was taken, the second try has the same key."""
    gateway = Gateway(lose_the_reply)
    server = await aiohttp_server(gateway.app)
    async with FailOpenPublisher(HttpTransport(str(server.make_url(""))), budget=SLACK) as publisher:
        await publisher.publish(EVENT)
    assert publisher.stats.published == 1
    assert len(gateway.keys) == 2 and len(set(gateway.keys)) == 1
    assert gateway.bodies[0] == gateway.bodies[1]


async def test_a_gateway_that_stumbles_once(aiohttp_server: AiohttpServer) -> None:
    """One 503 costs nothing but time."""
    gateway = Gateway(answer(503))
    server = await aiohttp_server(gateway.app)
    async with FailOpenPublisher(HttpTransport(str(server.make_url(""))), budget=SLACK) as publisher:
        await publisher.publish(EVENT)
    assert publisher.stats.published == 1
    assert len(set(gateway.keys)) == 1


async def test_a_gateway_that_hangs(aiohttp_server: AiohttpServer, logs: list[EventDict]) -> None:
    """A gateway that never answers costs its caller no more than the budget."""
    gateway = Gateway(hang, hang)
    server = await aiohttp_server(gateway.app)
    transport = HttpTransport(str(server.make_url("")))
    hurried, patient = FailOpenPublisher(transport, budget=0.5), FailOpenPublisher(transport, budget=SLACK)
    async with asyncio.timeout(SLACK):
        await hurried.publish(EVENT)
    assert hurried.stats.failed == 1
    assert [line["reason"] for line in logs] == ["timeout"]
    await patient.publish(EVENT)
    assert patient.stats.published == 1
    await patient.close()


async def test_a_wrong_key(aiohttp_server: AiohttpServer, logs: list[EventDict]) -> None:
    """A key the gateway does not know is logged as an error, with the gateway's words and without the key."""
    gateway = Gateway(*[problem(401, "no such key")] * 3)
    server = await aiohttp_server(gateway.app)
    transport = HttpTransport(str(server.make_url("")), "s3cret")
    async with FailOpenPublisher(transport, breaker=Breaker(failures=2)) as publisher:
        for _ in range(3):
            await publisher.publish(EVENT)
    assert len(gateway.requests) == 2
    assert (publisher.stats.failed, publisher.stats.skipped) == (2, 1)
    assert (logs[0]["reason"], logs[0]["detail"]) == ("not-authenticated", "no such key")
    assert logs[0]["log_level"] == "error"
    assert "s3cret" not in str(logs)


@pytest.mark.filterwarnings("error")
def test_one_loop_after_another() -> None:
    """A publisher made once works in each of several asyncio.run calls, and leaves no connection behind."""
    gateway, port = Gateway(), unused_port()
    publisher = FailOpenPublisher(HttpTransport(f"http://127.0.0.1:{port}"), budget=SLACK)

    async def run() -> None:
        app = web.Application()
        app.router.add_post("/{path:.*}", gateway._handle)
        async with TestServer(app, port=port):
            await publisher.publish(EVENT)
            await publisher.publish(EVENT)

    for _ in range(3):
        asyncio.run(run())
        gc.collect()
    assert publisher.stats.published == 6
    assert publisher.stats.retried == 0


def test_an_address_that_cannot_be_one() -> None:
    """A bad address is an error when the transport is made."""
    with pytest.raises(ValueError, match="expected the gateway's address"):
        HttpTransport("gateway:8080")
