"""A subscription against servers that answer what they were told to: what it makes of each, and what it asks next."""

from __future__ import annotations

import asyncio
import gc
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from client.subscriber.scripted import RETRY, Answer, Scripted, event, page, position, refusal, scripted, stream
from servers import HOST, free_port, until
from structlog.typing import EventDict

from gateway.client import (
    Event,
    Gap,
    GatewayError,
    InvalidRequest,
    NoGateway,
    NotAllowed,
    NotAuthenticated,
    State,
    Subscription,
    subscribe,
)

SLACK = 30.0
BACKOFF = "gateway.client.subscriber.backoff.FIRST"


@asynccontextmanager
async def subscribed(server: Scripted, token: Any = None, **options: Any) -> AsyncIterator[Subscription]:
    async with asyncio.timeout(SLACK), subscribe(server.url, token, **options) as events:
        yield events


@asynccontextmanager
async def reading(*answers: Answer, **options: Any) -> AsyncIterator[tuple[Scripted, Subscription]]:
    async with scripted(*answers) as server, subscribed(server, **options) as events:
        yield server, events


async def numbers(events: Subscription, count: int) -> list[int]:
    return [(await anext(events)).json() for _ in range(count)]


# What comes


async def test_events_are_given() -> None:
    """With type, data, id, and where to resume after each."""
    async with reading(stream(position(1), event(2), "event: y\ndata: [1]\n\n", ends=False)) as (server, events):
        assert await anext(events) == Event("x", "2", "2-0", "2-0")
        raw = await anext(events)
        assert (raw.type, raw.json(), raw.id, raw.last_event_id) == ("y", [1], None, "2-0")
    [request] = server.requests
    assert request.path == "/v1/events"
    assert "Authorization" not in request.headers
    assert request.headers["Accept-Encoding"] == "identity"
    assert "text/event-stream" not in request.headers["Accept"]


@pytest.mark.parametrize("cut", [False, True], ids=["ended", "cut"])
async def test_it_comes_back_where_it_was(cut: bool) -> None:
    """After whatever end; an event that did not end whole does not count, one that comes again is given once."""
    first = stream(position(1), event(2), event(3), "id: 4-0\ndata: 4\n", cut=cut)
    async with reading(first, stream(position(3), event(3), event(4), ends=False), last_event_id="1-0") as (
        server,
        events,
    ):
        assert await numbers(events, 3) == [2, 3, 4]
    assert server.cursors == ["1-0", "3-0"]


async def test_the_cursor_is_that_of_what_was_given() -> None:
    """What a program keeps to go on from is where it is itself; heartbeats count when it was given all."""
    async with reading(stream(position(1), event(2) + event(3), ":\nid: 9-0\n\n", ends=False)) as (_, events):
        assert events.last_event_id == "1-0"
        await anext(events)
        assert events.last_event_id == "2-0"
        await anext(events)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await anext(events)
        assert events.last_event_id == "9-0"


async def test_heartbeats_move_the_cursor() -> None:
    """A quiet client that comes back asks for no history."""
    async with reading(stream(position(1), ":\nid: 9-0\n\n"), stream(event(10), ends=False)) as (server, events):
        assert await numbers(events, 1) == [10]
    assert server.cursors == [None, "9-0"]


async def test_a_gap_is_given_at_its_place(logs: list[EventDict]) -> None:
    """As an event of a kind of its own, and it is logged for those who do not look."""
    told = 'event: gateway.gap\ndata: {"requested":"1-0","oldest":"5-0"}\n\n'
    async with reading(stream(RETRY, event(4), told, event(5), ends=False), last_event_id="1-0") as (_, events):
        found = [await anext(events) for _ in range(3)]
    assert [type(one) for one in found] == [Event, Gap, Event]
    assert isinstance(found[1], Gap)
    assert (found[1].requested, found[1].oldest) == ("1-0", "5-0")
    assert [line["event"] for line in logs] == ["sse.gap"]


async def test_reading_waits_for_the_program() -> None:
    """What is not asked for is not read: the server cannot write on and on."""
    written = 0

    async def endless(request: Any) -> Any:
        nonlocal written
        response = await stream(ends=True)(request)
        while True:
            await response.write((event(written) + ":" + "x" * 10_000 + "\n").encode())
            written += 1

    async with scripted(endless) as server, subscribed(server) as events:
        await anext(events)
        before = -1
        while written != before:
            before = written
            await asyncio.sleep(0.2)
        expected = list(range(1, written))
        assert await numbers(events, len(expected)) == expected


# What is asked for, when


async def test_states_are_told() -> None:
    """Connecting, open, waiting with the reason, and closed."""
    states: list[State] = []
    async with reading(stream(position(1)), stream(event(2), ends=False), on_state=states.append) as (_, events):
        await anext(events)
    assert [state.name for state in states] == ["connecting", "open", "waiting", "connecting", "open", "closed"]
    assert (states[2].reason, states[-1].reason) == ("the gateway ended the stream", "closed by this program")
    assert 0 <= states[2].retry_in <= 0.01


async def test_a_gateway_without_room_is_asked_again(logs: list[EventDict], monkeypatch: pytest.MonkeyPatch) -> None:
    """By a status with Retry-After, or by a stream that only says when to retry: it is not open before it is."""
    monkeypatch.setattr(BACKOFF, 0.01)
    states: list[State] = []
    answers = refusal(503, "full", {"Retry-After": "0"}), stream(RETRY), refusal(429), stream(position(1), ends=False)
    async with scripted(*answers) as server, subscribed(server, on_state=states.append):
        assert len(server.requests) == 4
    assert [state.reason for state in states if state.name == "waiting"] == [
        "503: full", "the gateway ended the stream", "429: No"
    ]  # fmt: skip
    assert {line["log_level"] for line in logs} == {"warning"}


async def test_retry_after_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway that asks for a second is left alone for it."""
    waits: list[float] = []
    async with scripted(refusal(503, "full", {"Retry-After": "1"}), stream(position(1), ends=False)) as server:
        monkeypatch.setattr(BACKOFF, 0.01)
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with subscribe(server.url, on_state=lambda state: waits.append(state.retry_in)):
            pass
    assert 1 <= max(waits) <= loop.time() - began


async def test_nobody_is_there_yet(logs: list[EventDict]) -> None:
    """A program may be started before its gateway: it waits, and says so."""
    states: list[State] = []
    url = f"http://{HOST}:{free_port()}"
    opening = asyncio.create_task(subscribe(url, on_state=states.append).__aenter__())
    await until(lambda: any(state.name == "waiting" for state in states))
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert states[1].reason == "cannot connect (Connection refused)"
    assert logs[0]["event"] == "sse.subscription_interrupted"


async def test_silence_is_taken_for_death() -> None:
    """Without a heartbeat the connection is given up, and made anew from the cursor."""
    silent = stream(position(1), ends=False)
    states: list[State] = []
    async with reading(silent, stream(event(2), ends=False), silence=0.2, on_state=states.append) as (server, events):
        assert await numbers(events, 1) == [2]
    assert server.cursors == [None, "1-0"]
    assert states[2].reason == "nothing came for 0.2 s, not even a heartbeat"


@pytest.mark.parametrize(("said", "seconds"), [("0.2", 0.5), ("soon", 37.5), ("nan", 37.5), ("-1", 37.5), (None, 37.5)])
async def test_the_gateway_says_how_long_silence_may_be(
    said: str | None, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two and a half heartbeats; of its default, if it does not say how often they come."""
    at: list[float] = []
    real = asyncio.timeout_at

    def noting(when: float) -> asyncio.Timeout:
        at.append(when - asyncio.get_running_loop().time())
        return real(when)

    async def answer(request: Any) -> Any:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        if said is not None:
            response.headers["Heartbeat-Interval"] = said
        await response.prepare(request)
        await response.write((position(1) + event(2)).encode())
        await response.write(event(3).encode())
        await asyncio.Event().wait()
        return response

    async with reading(answer) as (_, events):
        monkeypatch.setattr("gateway.client.subscriber.subscription.asyncio.timeout_at", noting)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                while True:
                    await anext(events)
        monkeypatch.undo()
    assert at[-1] == pytest.approx(seconds, abs=0.1)


async def test_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that accepts and says nothing is given up, and asked again."""
    monkeypatch.setattr("gateway.client.subscriber.http.ANSWERS_WITHIN", 0.1)

    async def hang(request: Any) -> Any:
        await asyncio.Event().wait()

    states: list[State] = []
    async with scripted(hang, stream(position(1), ends=False)) as server:
        monkeypatch.setattr(BACKOFF, 0.01)
        async with subscribed(server, on_state=states.append):
            pass
    assert states[1].reason == "no answer within 0.1 s"


async def test_an_event_without_end() -> None:
    """It is given up, like a connection that broke, and not kept in memory."""
    endless = stream(position(1), *("data: " + "x" * 2**20 + "\n" for _ in range(17)), ends=False)
    states: list[State] = []
    async with reading(endless, stream(event(2), ends=False), on_state=states.append) as (_, events):
        assert await numbers(events, 1) == [2]
    assert "more than" in states[2].reason


# Refusals


@pytest.mark.parametrize(("status", "error"), [(400, InvalidRequest), (401, NotAuthenticated), (403, NotAllowed)])
async def test_a_refusal_is_its_error(status: int, error: type[GatewayError]) -> None:
    """With the gateway's words, at once."""
    async with scripted(refusal(status, "because")) as server:
        with pytest.raises(error, match="because"):
            async with subscribed(server, "token"):
                pass
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_token_is_renewed_once(status: int) -> None:
    """A function is asked for another; if that one is refused too, it is an error."""
    given = iter(f"token-{number}" for number in range(10))

    async def ask() -> str:
        return next(given)

    async with reading(refusal(status, "old"), stream(position(1)), refusal(status, "old"), token=ask) as (
        server,
        events,
    ):
        with pytest.raises((NotAuthenticated, NotAllowed), match="old"):
            await anext(events)
        with pytest.raises(StopAsyncIteration):
            await anext(events)
    assert server.tokens == ["token-0", "token-1", "token-2", "token-3"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (page(), "200 text/html, and no event stream: is it the gateway's address?"),
        (page(404), "404 text/html, and no event stream"),
        (page(302, {"Location": "https://login.example/?secret=1"}), "302: it redirects to https://login.example; "),
        (page(301, {"Location": "https://["}), "301: it redirects to somewhere"),
    ],
)
async def test_what_is_no_gateway_is_said_to_be_none(answer: Any, said: str) -> None:
    """An address that never gave a stream is an error; its page is not repeated."""
    async with scripted(answer) as server:
        with pytest.raises(NoGateway) as caught:
            async with subscribed(server):
                pass
    assert str(caught.value).startswith(said)
    assert "secret" not in str(caught.value)


async def test_a_gateway_that_is_exchanged() -> None:
    """Where there was a stream, a proxy's 404 or page is for a moment, and asked again."""
    async with reading(stream(position(1)), page(404), page(), stream(event(2), ends=False)) as (server, events):
        assert await numbers(events, 1) == [2]
    assert server.cursors == [None, "1-0", "1-0", "1-0"]


async def test_a_user_who_is_kept_away() -> None:
    """204 ends the iteration, from the beginning or later."""
    async with scripted(refusal(204)) as server, subscribed(server) as events:
        assert [event async for event in events] == []
    states: list[State] = []
    async with reading(stream(position(1), event(2)), refusal(204), on_state=states.append) as (server, events):
        assert [event.json() async for event in events] == [2]
    assert states[-1] == State("closed", "the gateway keeps this user away (204)")


# Tokens


EXPIRING = 'event: gateway.expiring\ndata: {"seconds":0.2}\n\n'


async def test_a_token_that_ends_is_renewed_before() -> None:
    """The stream is changed for one with the new token, from the cursor on; the function is asked once for each."""
    given = iter(f"token-{number}" for number in range(10))

    async def ask() -> str:
        return next(given)

    states: list[State] = []
    async with reading(
        stream(position(1), EXPIRING, ends=False), stream(event(2), ends=False), token=ask, on_state=states.append
    ) as (server, events):
        assert await numbers(events, 1) == [2]
    assert (server.tokens, server.cursors) == (["token-0", "token-1"], [None, "1-0"])
    assert "waiting" not in [state.name for state in states]


@pytest.mark.parametrize("fails", [False, True], ids=["the same again", "none to be had"])
async def test_a_token_that_cannot_be_renewed_is_used_up(fails: bool) -> None:
    """The stream stays until the gateway ends it; only then is there a new one."""
    asked = 0

    async def ask() -> str:
        nonlocal asked
        asked += 1
        if asked == 2 and fails:
            raise OSError("the issuer is away")
        return "token"

    async def still_good(request: Any) -> Any:
        response = await stream(position(1) + EXPIRING)(request)
        await until(lambda: asked == 2)
        await response.write(event(2).encode())
        return response

    async with reading(still_good, stream(event(3), ends=False), token=ask) as (server, events):
        assert await numbers(events, 2) == [2, 3]
    assert (server.cursors, asked) == ([None, "2-0"], 3)


async def test_an_issuer_that_is_away() -> None:
    """At the beginning its error is the program's; where there was a stream it is asked again."""
    asked = 0

    async def ask() -> str:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise OSError("the issuer is away")
        return f"token-{asked}"

    states: list[State] = []
    async with reading(stream(position(1)), stream(event(2), ends=False), token=ask, on_state=states.append) as (
        server,
        events,
    ):
        assert await numbers(events, 1) == [2]
        assert [state.reason for state in states if state.name == "waiting"][1] == "there is no token (OSError)"
        asked = 1
        with pytest.raises(OSError, match="issuer"):
            async with subscribed(server, ask):
                pass


# A program that leaves


async def test_it_may_be_interrupted_anywhere() -> None:
    """A call that is cancelled, wherever it was, loses nothing: the next one goes on."""
    answers = [answer for number in range(2, 7) for answer in (stream(position(number - 1), event(number)), page(502))]
    async with reading(*answers, stream(position(6), ends=False)) as (_, events):
        got: list[int] = []
        patience = itertools.cycle([0, 0.001, 0.003, 0.01, 0.03, 1])
        while len(got) < 5:
            try:
                async with asyncio.timeout(next(patience)):
                    got.append((await anext(events)).json())
            except TimeoutError:
                pass
        assert got == list(range(2, 7))


async def test_one_task_reads() -> None:
    """Two would share the events at random, which nobody means."""
    async with scripted(stream(position(1), ends=False)) as server, subscribed(server) as events:
        reading = asyncio.create_task(anext(events))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="another task"):
            await anext(events)
        await events.close()
        with pytest.raises(StopAsyncIteration):
            await reading


async def test_leaving_closes_the_connection() -> None:
    """Nothing is left behind, and the server sees it at once."""
    left = asyncio.Event()

    async def noting(request: Any) -> Any:
        try:
            return await stream(position(1), ends=False)(request)
        finally:
            left.set()

    async with scripted(noting) as server:
        async with subscribed(server):
            pass
        async with asyncio.timeout(SLACK):
            await left.wait()
    gc.collect()  # what was not closed would warn


async def test_a_session_of_ones_own() -> None:
    """It is used, and left open."""
    async with aiohttp.ClientSession(headers={"X-Mine": "1"}, raise_for_status=True) as session:
        async with reading(stream(position(1), ends=False), session=session) as (server, _):
            pass
        assert not session.closed
    assert server.requests[0].headers["X-Mine"] == "1"
