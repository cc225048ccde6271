"""The world: one server, some gateway processes, some clients; and everything that can happen to them.

Each action is a method, and a sentence of the script's language (`script.py`). Durations belong to the action that
needs them, so that any part of a script is a script. Clients that lose their stream come back by themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace
from typing import Any
from unittest import mock

import structlog
from model.client import CLIENTS, Client
from model.ledger import Ledger
from model.process import Process
from model.server import Server
from model.setup import Setup
from model.sockets import PACES
from model.stream import Stream
from model.virtual_time import EPOCH_MS, VirtualTimeLoop
from model.wire import Delays, Weather

import gateway.healing
import gateway.hub.hub
from gateway.hub import CloseReason, State
from gateway.ids import START, EventId

RETRY_AT_MOST = 3.0
FAR = 10**9
"""Milliseconds: a cursor so far ahead is one from the future, whatever happens."""


class World:
    """`blamed` collects what should not have been."""

    def __init__(self, setup: Setup) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        self.loop = loop
        self.setup = setup
        self.blamed: list[str] = []
        self.weather = Weather()
        self.networks = [Weather() for _ in range(setup.processes)]
        self.server = Server(
            loop.wall_ms,
            max_events=setup.max_events,
            ttl=setup.ttl,
            journal=setup.journal,
            page_bytes=setup.page_bytes,
            retention=setup.retention,
        )
        self.processes = [
            Process(number, setup, self.server, (self.weather, network), self.blame)
            for number, network in enumerate(self.networks, 1)
        ]
        self.clients = [self._client(number) for number in range(setup.clients)]
        self._delays = Delays(f"{setup.seed} clients")
        self._streams: dict[Client, Stream] = {}
        self._coming: dict[Client, asyncio.TimerHandle] = {}
        self._paces = dict.fromkeys(self.clients, PACES["fast"])

    def blame(self, what: str) -> None:
        self.blamed.append(f"at {self.loop.time():.3f}: {what}")

    def _client(self, number: int) -> Client:
        listening = CLIENTS[number]

        def blame(what: str) -> None:
            self.blame(f"client {number} {what}")

        return Client(number, Ledger(self.server, listening.channels, listening.types, self.loop.time, blame))

    async def start(self) -> None:
        self.loop.set_exception_handler(lambda _, context: self.blame(f"{context.get('exception') or context}"))
        for process in self.processes:
            await process.start()

    def check(self) -> None:
        for process in self.processes:
            process.check()

    # Publishers

    async def publish(
        self,
        channel: str,
        times: int = 1,
        size: int = 0,
        key: str | None = None,
        ttl: float | None = None,
        type: str = "t.a",
    ) -> None:
        await self._server_answers()
        if self.loop.time() >= self.weather.down_until:
            for _ in range(times):
                self.server.publish(channel, self.loop.time(), event_type=type, size=size, key=key, ttl=ttl)

    async def publish_raw(self, channel: str) -> None:
        await self._server_answers()
        if self.loop.time() >= self.weather.down_until:
            self.server.publish_raw(channel, self.loop.time(), event_type="t.a")

    async def _server_answers(self) -> None:
        if (wait := self.weather.hanging_until - self.loop.time()) > 0:
            await asyncio.sleep(wait)

    # Clients

    def come(self, client: int, process: int, cursor: str | None = None) -> None:
        """With its own cursor, if it has one."""
        who = self.clients[client]
        if who in self._streams:
            return
        if (timer := self._coming.pop(who, None)) is not None:
            timer.cancel()
        self._streams[who] = self.process(process).open(who, self._paces[who], self._ended)

    def come_anew(self, client: int, process: int, claim: str | None) -> None:
        """Without a past, or with one of its own invention: `nonsense`, `earliest`, `old`, `future`."""
        self.leave(client, 0)
        tip = self.server.tip() if claim == "future" else START
        claim = {"old": "5-0", "future": str(EventId(tip.ms + FAR, 0))}.get(claim or "", claim)
        self.clients[client].forget(claim, owed_a_gap=claim not in (None, "earliest") and self.setup.retention)
        self.come(client, process)

    def leave(self, client: int, noticed_after: float, back_after: float | None = None, process: int = 1) -> None:
        """The connection is cut; the process notices later, or at once."""
        who = self.clients[client]
        if (stream := self._streams.pop(who, None)) is not None:
            stream.hang_up()
            if noticed_after:
                self.loop.call_later(noticed_after, stream.cancel)
            else:
                stream.cancel()
        if back_after is not None:
            self._come_back(who, back_after, process)

    def read(self, client: int, pace: str) -> None:
        who = self.clients[client]
        self._paces[who] = PACES[pace]
        if (stream := self._streams.get(who)) is not None:
            stream.socket.read_at(PACES[pace])

    def close(self, client: int) -> None:
        """The gateway ends the stream: a token's end, an age, a drain."""
        if (stream := self._streams.get(self.clients[client])) is not None:
            stream.connection.close(CloseReason.AGE)

    def _ended(self, stream: Stream) -> None:
        if self._streams.get(stream.client) is stream:
            del self._streams[stream.client]
            number = int(self._delays.of(f"process {stream.client.number}") * 1e6)
            self._come_back(stream.client, self._retry(), number)

    def _retry(self) -> float:
        return min(self._delays.of("retry") * 100, RETRY_AT_MOST)

    def _come_back(self, who: Client, after: float, process: int) -> None:
        if (timer := self._coming.pop(who, None)) is not None:
            timer.cancel()
        self._coming[who] = self.loop.call_later(after, self.come, who.number, process)

    # Links, networks, processes

    def process(self, number: int) -> Process:
        return self.processes[(number - 1) % len(self.processes)]

    def break_link(self, process: int, noticed_after: float) -> None:
        if (session := self.process(process).broker.session) is not None:
            session.die(noticed_after)

    def lose_network(self, process: int, seconds: float) -> None:
        """A black hole: nothing answers this process, the link is silent."""
        self.networks[self.process(process).number - 1].hanging_until = self.loop.time() + seconds
        self.break_link(process, min(2.75, seconds))

    async def restart(self, process: int) -> None:
        one = self.process(process)
        for who, stream in list(self._streams.items()):
            if stream.process is one:
                self.leave(who.number, 0, self._retry(), process + 1)
        await one.stop()
        await one.start()

    # The server

    def stop_server(self, seconds: float) -> None:
        self.weather.down_until = self.loop.time() + seconds
        for process in self.processes:
            self.break_link(process.number, 0)

    def hang_server(self, seconds: float) -> None:
        self.weather.hanging_until = self.loop.time() + seconds
        if seconds > 2.5:
            for process in self.processes:
                self.break_link(process.number, 2.75)

    def fail_over(self, events: int, noticed_after: float) -> None:
        self.server.fail_over(events)
        for process in self.processes:
            self.break_link(process.number, noticed_after)

    # The end

    async def settle(self) -> None:
        """Everything is mended: everybody must get what is due, be live, and then leave nothing behind."""
        now = self.loop.time()
        await asyncio.sleep(max(w.down_until - now for w in (self.weather, *self.networks)))
        await asyncio.sleep(max(w.hanging_until - self.loop.time() for w in (self.weather, *self.networks)))
        for client in self.clients:
            self.read(client.number, "fast")
            if client not in self._coming:
                self.come(client.number, client.number)
        await self._until(self._all_live, 60, "is not live")
        self._mark()
        await self._until(self._all_at_the_tip, 5 * self.setup.heartbeat, "did not get to the tip")

    def _mark(self) -> None:
        for channel in dict.fromkeys(channel for client in CLIENTS for channel in client.channels):
            self.server.publish(channel, self.loop.time(), event_type="t.a")

    async def leave_all(self) -> None:
        for client in self.clients:
            self.leave(client.number, 0)
        await asyncio.sleep(self.setup.linger + 5)
        for process in self.processes:
            process.nothing_left()

    def _all_live(self, client: Client) -> bool:
        stream = self._streams.get(client)
        return (
            stream is not None and stream.connection.state is State.LIVE and not stream.process.relay.healing.under_way
        )

    def _all_at_the_tip(self, client: Client) -> bool:
        position = client.ledger.position
        return not self.setup.retention or (position is not None and position >= self.server.tip())

    async def _until(self, condition: Any, seconds: float, what: str) -> None:
        deadline = self.loop.time() + seconds
        while not self.blamed:
            self.check()
            late = [client for client in self.clients if not condition(client)]
            if not late:
                return
            if self.loop.time() > deadline:
                for client in late:
                    stream = self._streams.get(client)
                    state = "away" if stream is None else f"{stream.connection.state} at {stream.connection.cursor}"
                    self.blame(
                        f"client {client.number} {what} after {seconds} s: {state}, has {client.ledger.position}"
                    )
            await asyncio.sleep(0.25)

    async def stop(self) -> None:
        for timer in self._coming.values():
            timer.cancel()
        for process in self.processes:
            await process.stop()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if left and not self.blamed:
            self.blame(f"everything has ended, and there are still tasks: {[task.get_name() for task in left]}")


@contextlib.contextmanager
def sizes(setup: Setup) -> Any:
    """The constants of the gateway as the setup has them, and its clock."""
    loop = asyncio.get_running_loop()
    wall = SimpleNamespace(time=lambda: EPOCH_MS / 1000 + loop.time())
    with (
        mock.patch.object(gateway.healing, "HEAL_PAGE", setup.heal_page),
        mock.patch.object(gateway.healing, "HELD_BYTES", setup.held_bytes),
        mock.patch.object(gateway.hub.hub, "time", wall),
        structlog.testing.capture_logs() as logs,
    ):
        yield logs
