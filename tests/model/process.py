"""One gateway process: the real hub, relay and healing, over the simulated broker."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence

from model.broker import WiredBroker
from model.client import Client
from model.server import Server
from model.setup import Setup
from model.sockets import Pace
from model.stream import Stream
from model.wire import Delays, Weather

from gateway.events import Entry
from gateway.hub import Hub, State
from gateway.hub.heartbeat import beat
from gateway.relay import Relay


class Process:
    """`number` from 1. What it does wrong is told to `blame`."""

    def __init__(
        self, number: int, setup: Setup, server: Server, weather: Sequence[Weather], blame: Callable[[str], None]
    ) -> None:
        self.number = number
        self.server = server
        self._blame = blame
        self.max_buffer = setup.max_buffer
        self.weather = weather
        self.streams: dict[Stream, None] = {}
        self._setup = setup
        self._numbers = itertools.count(1)
        self._delays = Delays(f"{setup.seed} {number}")

    async def start(self) -> None:
        setup = self._setup
        self.hub = Hub(max_buffer=setup.max_buffer, join_window=setup.join_window, tail_bytes=setup.tail_bytes)
        self.broker = WiredBroker(self.server, self.weather, self._delays, setup.retention, self._heard)
        self.relay = Relay(
            self.hub, self.broker, linger=setup.linger, replay_page=setup.page, send_timeout=setup.send_timeout
        )
        await self.relay.start()
        self._beat = asyncio.create_task(beat(self.hub, setup.heartbeat), name="heartbeat")

    async def stop(self) -> None:
        """As a kill does: nobody is told anything."""
        self._beat.cancel()
        for stream in list(self.streams):
            stream.cancel()
        await asyncio.gather(self._beat, return_exceptions=True)
        await self.relay.close()

    def open(self, client: Client, pace: Pace, ended: Callable[[Stream], None]) -> Stream:
        stream = Stream(self, client, pace, ended)
        self.streams[stream] = None
        return stream

    def next_number(self) -> int:
        return next(self._numbers)

    def left(self, stream: Stream) -> None:
        self.streams.pop(stream, None)

    def blame(self, what: str) -> None:
        self._blame(what)

    def _heard(self, entry: Entry) -> None:
        if entry.id is None and not self.relay.healing.under_way:
            for stream in self.streams:
                stream.raw_announced(entry)

    def check(self) -> None:
        """What holds at every moment."""
        hub, now = self.hub, asyncio.get_running_loop().time()
        for stream in self.streams:
            stream.check(now)
        for channel in hub.channels.values():
            on_it = {connection for connection in hub.connections if channel.name in connection.channels}
            live = {connection for connection in on_it if connection.state is State.LIVE}
            if channel.members != len(on_it) or set(channel.live) != live:
                self._broken(
                    f"{channel.name} has {channel.members} members, {len(channel.live)} live; not {len(on_it)}"
                )
        remembered = sum(frame.memory for channel in hub.channels.values() for frame in channel.tail)
        if remembered > self._setup.tail_bytes:
            self._broken(f"its tails hold {remembered} bytes")
        held = sum(len(item.data) for item in self.relay.healing._held or () if isinstance(item, Entry))
        if held > self._setup.held_bytes:
            self._broken(f"it holds {held} bytes of announcements")
        fruitless = self.broker.fruitless
        if len(fruitless) == fruitless.maxlen and fruitless[-1] < fruitless[0] + 1:
            self._broken(f"it read nothing new {len(fruitless)} times within a second")

    def nothing_left(self) -> None:
        """When everybody has left, and channels no longer linger."""
        session = self.broker.session
        left = [*self.hub.channels, *self.hub.connections, *self.streams, *(session.subscribed if session else ())]
        if left:
            self._broken(f"everybody left, and there is still {left}")

    def _broken(self, what: str) -> None:
        self.blame(f"process {self.number}: {what}")
