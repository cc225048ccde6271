"""Errors become `application/problem+json`, in one place, and nothing of the inside shows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from structlog.testing import capture_logs
from web.inprocess import served

from gateway import errors
from gateway.app import build
from gateway.config import Settings
from gateway.web.context import GATEWAY
from gateway.web.problems import problem, problems

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

KINDS: list[tuple[type[errors.GatewayError], int, str]] = [
    (errors.InvalidEvent, 400, "invalid-event"),
    (errors.InvalidRequest, 400, "invalid-request"),
    (errors.NotAuthenticated, 401, "not-authenticated"),
    (errors.NotAllowed, 403, "not-allowed"),
    (errors.Conflict, 409, "conflict"),
    (errors.TooLarge, 413, "too-large"),
    (errors.UnsupportedType, 415, "unsupported-media-type"),
    (errors.RateLimited, 429, "rate-limited"),
    (errors.BrokerUnavailable, 503, "broker-unavailable"),
    (errors.KeysUnavailable, 503, "keys-unavailable"),
    (errors.AtCapacity, 503, "at-capacity"),
]


def raising(error: BaseException) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        raise error

    return handler


async def answer(error: BaseException) -> web.Response:
    """What a client gets when a handler raises `error`."""
    app = build(Settings(dev=True))
    response = await problems(make_mocked_request("GET", "/somewhere", app=app), raising(error))
    assert isinstance(response, web.Response)
    return response


def body(response: web.Response) -> dict[str, object]:
    assert response.text is not None
    decoded: dict[str, object] = json.loads(response.text)
    return decoded


@pytest.mark.parametrize(("kind", "status", "slug"), KINDS)
async def test_each_error_has_its_status_and_type(kind: type[errors.GatewayError], status: int, slug: str) -> None:
    """Every error of the tree becomes a problem with its own status, type, title and detail."""
    response = await answer(kind("what is wrong"))
    assert response.status == status
    assert response.content_type == "application/problem+json"
    assert response.headers["Cache-Control"] == "no-store"
    said = body(response)
    assert str(said.pop("instance")).startswith("urn:event-gateway:request:")
    assert said == {
        "type": f"urn:event-gateway:problem:{slug}",
        "title": kind.title,
        "status": status,
        "detail": "what is wrong",
    }


def test_the_bad_field_is_named() -> None:
    """The path of the offending field is a member of its own."""
    assert body(problem(errors.InvalidEvent("is missing", field="[3].data")))["field"] == "[3].data"


def test_without_a_detail_there_is_none() -> None:
    """An empty detail is left out instead of being sent empty."""
    assert set(body(problem(errors.Conflict()))) == {"type", "title", "status"}


@pytest.mark.parametrize(("seconds", "header"), [(0.2, "1"), (1.0, "1"), (1.2, "2"), (30, "30")])
def test_retry_after_is_whole_seconds_rounded_up(seconds: float, header: str) -> None:
    """Retry-After never asks a client to come back too early."""
    assert problem(errors.RateLimited("slow down", retry_after=seconds)).headers["Retry-After"] == header


def test_only_401_asks_for_credentials() -> None:
    """WWW-Authenticate is on 401 and on nothing else."""
    assert problem(errors.NotAuthenticated()).headers["WWW-Authenticate"] == "Bearer"
    assert "WWW-Authenticate" not in problem(errors.NotAllowed()).headers


async def test_what_nobody_foresaw_is_a_plain_500() -> None:
    """An unexpected exception is logged with its traceback, and nothing of it is answered."""
    with capture_logs() as logs:
        response = await answer(ZeroDivisionError("secret detail"))
    assert response.status == 500
    assert "secret" not in (response.text or "")
    assert "Traceback" not in (response.text or "")
    [line] = logs
    assert line["event"] == "http.unexpected_error"
    assert line["exc_info"]


async def test_what_nobody_foresaw_is_counted() -> None:
    """For an alert: it is a fault of the gateway's own, which somebody should hear of."""
    app = build(Settings(dev=True))
    for error in (ZeroDivisionError(), errors.NotAllowed()):
        await problems(make_mocked_request("GET", "/somewhere", app=app), raising(error))
    assert app[GATEWAY].metrics.registry.get_sample_value("gateway_unexpected_errors_total") == 1


async def test_text_that_no_header_could_hold_stays_in_the_body() -> None:
    """A detail with line ends, quotes and non-ASCII is JSON in the body and forges nothing."""
    detail = 'a\r\nSet-Cookie: x=1\n\n"é\u2028'
    response = await answer(errors.InvalidRequest(detail))
    assert body(response)["detail"] == detail
    assert "Set-Cookie" not in response.headers
    assert (response.text or "").isascii()


async def test_aiohttps_refusals_are_problems_too() -> None:
    """No such path and no such method answer as every other error does, with Allow where HTTP asks for it."""
    async with served() as gateway:
        async with gateway.http.get("/nowhere") as response:
            assert response.status == 404
            assert response.content_type == "application/problem+json"
            assert (await response.json())["title"] == "Not Found"
        async with gateway.http.put("/v1/events") as response:
            assert response.status == 405
            assert response.content_type == "application/problem+json"
            assert set(response.headers["Allow"].split(",")) == {"GET", "POST"}


async def test_a_body_over_the_limit_names_the_limit() -> None:
    """aiohttp's own 413 becomes the gateway's."""
    response = await answer(web.HTTPRequestEntityTooLarge(max_size=10, actual_size=11))
    assert (response.status, body(response)["type"]) == (413, "urn:event-gateway:problem:too-large")


@pytest.mark.parametrize("passing", [web.HTTPFound("/there"), asyncio.CancelledError()])
async def test_what_is_no_error_passes(passing: BaseException) -> None:
    """A redirect and a cancellation are not turned into problems."""
    with pytest.raises(type(passing)):
        await problems(make_mocked_request("GET", "/"), raising(passing))


async def test_a_client_that_left_is_no_error() -> None:
    """A connection that was reset is not the gateway's fault: nothing is logged, nothing is raised on."""
    with capture_logs() as logs:
        response = await answer(ConnectionResetError("Cannot write to closing transport"))
    assert response.status == 499
    assert logs == []
