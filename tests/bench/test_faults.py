"""A gateway that fails its users is found out: a stand-in that does, from its socket to the command's figures."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from servers import HOST

from gateway.bench import run
from gateway.cli import main
from gateway.events import SSEEvent
from gateway.frames import event_frame
from gateway.ids import EventId

Frames = list[bytes]
Fault = Callable[[str, int, Frames], Iterable[bytes]]
"""What user gets which frames when event `number` is published; frames of all events so far."""

EVENTS = 20


class Failing:
    """Broadcasts what is published, as `fault` has it; refuses the numbers in `refuse`."""

    def __init__(self, fault: Fault, *, refuse: Iterable[int] = ()) -> None:
        self._fault = fault
        self._refuse = {*refuse}
        self._frames: Frames = []
        self._streams: dict[str, asyncio.Queue[bytes]] = {}

    async def events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        queue = self._streams[request.query["user"]] = asyncio.Queue()
        with contextlib.suppress(ConnectionError):
            while frame := await queue.get():
                await response.write(frame)
        return response

    async def publish(self, request: web.Request) -> web.Response:
        event = SSEEvent.from_envelope(await request.json())
        number = event.data["n"]
        if number in self._refuse:
            return web.json_response({"title": "Too large"}, status=413, content_type="application/problem+json")
        frame = event_frame(event.event_type, event.data_json, id=EventId(1, number + 1))
        self._frames.append(frame)
        for user, queue in self._streams.items():
            for sent in [frame] if number < 0 else self._fault(user, number, self._frames):
                queue.put_nowait(sent)
        return web.json_response({}, status=202)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        app = web.Application()
        app.add_routes([web.get("/v1/events", self.events), web.post("/v1/{path:.*}", self.publish)])
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, HOST, 0).start()
            yield f"http://{HOST}:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


def honest(user: str, number: int, frames: Frames) -> Frames:
    return frames[-1:]


def loses(user: str, number: int, frames: Frames) -> Frames:
    return [] if (user, number) == ("bench-1", 7) else frames[-1:]


def doubles(user: str, number: int, frames: Frames) -> Frames:
    return frames[-1:] * 2 if (user, number) == ("bench-0", 7) else frames[-1:]


def delays(user: str, number: int, frames: Frames) -> Frames:
    """One event comes after the next one."""
    return {7: [], 8: [frames[-1], frames[-2]]}.get(number, frames[-1:])


def ends(user: str, number: int, frames: Frames) -> Frames:
    return [b""] if (user, number) == ("bench-1", 7) else frames[-1:]


def tells_a_gap(user: str, number: int, frames: Frames) -> Frames:
    return [event_frame("gateway.gap", b"{}"), frames[-1]] if number == 7 else frames[-1:]


NOTHING = {"lost": 0, "duplicates": 0, "out_of_order": 0, "misdelivered": 0, "told": {}}


@pytest.mark.parametrize(
    ("failing", "to", "found", "count"),
    [
        (Failing(honest), "topic", {}, 40),
        (Failing(loses), "topic", {"lost": 1}, 39),
        (Failing(doubles), "topic", {"duplicates": 1}, 40),
        (Failing(delays), "topic", {"out_of_order": 2}, 40),
        (Failing(tells_a_gap), "topic", {"told": {"gateway.gap": 2}}, 40),
        (Failing(honest), "users", {"misdelivered": 20}, 20),
        (Failing(ends), "topic", {}, 27),
        (Failing(honest, refuse=[7, 8]), "topic", {}, 36),
    ],
    ids=["honest", "loses", "doubles", "delays", "tells a gap", "tells all to all", "ends a stream", "refuses"],
)
async def test_found_out(
    failing: Failing,
    to: str,
    found: dict[str, object],
    count: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each fault is counted as what it is, and ends the command with 1."""
    monkeypatch.setattr(run, "SETTLED_AFTER", 0.3)
    flags = ["--connections", "2", "--rate", "100", "--seconds", "0.2", "--to", to, "--json"]
    async with failing.serving() as url:
        status = await asyncio.to_thread(main, ["bench", "--url", url, *flags])
    out, err = capsys.readouterr()
    told = json.loads(out)
    deliveries = told["deliveries"]
    assert {name: deliveries[name] for name in NOTHING} == NOTHING | found
    assert deliveries["count"] == count
    assert told["clean"] == (count == 2 * EVENTS and not found)
    assert status == (0 if told["clean"] else 1)
    if told["published"]["refused"]:
        assert "gateway: 2 of 20 events were not accepted; 2 of them: 413 Too large\n" in err
    if told["connections"]["ended_early"]:
        assert "gateway: 1 streams ended before the run did; what they missed is not counted as lost\n" in err
