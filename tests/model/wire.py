"""The wire between a gateway process and the server: it delays, keeps order, and dies.

Commands to the server and messages from it are delayed at random, each way in order; when the wire is cut,
everything on it is lost.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from model.server import Server

from gateway.events import Entry
from gateway.ids import EventId

T = TypeVar("T")


class Delays:
    """Mostly a few milliseconds, sometimes a hundred times that; a stream of its own for each use."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._streams: dict[str, random.Random] = {}

    def of(self, use: str) -> float:
        stream = self._streams.get(use)
        if stream is None:
            stream = self._streams[use] = random.Random(f"{self._seed} {use}")
        return stream.expovariate(300) * (100 if stream.random() < 0.05 else 1)


@dataclass(slots=True)
class Weather:
    """When what is there cannot be reached, or does not answer: loop times until which it is so."""

    down_until: float = 0.0
    hanging_until: float = 0.0


def hanging(weather: Sequence[Weather]) -> float:
    """Seconds for which nothing answers."""
    return max(0.0, max(one.hanging_until for one in weather) - asyncio.get_running_loop().time())


class Pipe(Generic[T]):
    """One direction of a wire."""

    def __init__(self, delay: Callable[[], float], deliver: Callable[[T], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._delay = delay
        self._deliver = deliver
        self._way: deque[tuple[float, T]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self.arrives = 0.0
        self.dead = False

    def send(self, item: T) -> None:
        if self.dead:
            return
        self.arrives = max(self.arrives, self._loop.time() + self._delay())
        self._way.append((self.arrives, item))
        self._pump()

    def cut(self) -> None:
        self.dead = True
        self._way.clear()

    def _pump(self) -> None:
        if self._timer is None and self._way:
            self._timer = self._loop.call_at(self._way[0][0], self._arrived)

    def _arrived(self) -> None:
        self._timer = None
        now = self._loop.time()
        while self._way and self._way[0][0] <= now:
            self._deliver(self._way.popleft()[1])
        self._pump()


@dataclass(frozen=True, slots=True)
class Command:
    """`subscribe` or `unsubscribe` a channel; `ping` when all were asked for. The reply is the command itself."""

    name: str
    channel: str = ""


class Session:
    """One pub/sub connection, both of its ends."""

    def __init__(
        self,
        server: Server,
        weather: Sequence[Weather],
        delays: Delays,
        push: Callable[[Command | Entry | EventId], None],
    ) -> None:
        self._server = server
        self.subscribed: dict[str, None] = {}
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.commands: Pipe[Command] = Pipe(lambda: delays.of("command") + hanging(weather), self._obey)
        self.messages: Pipe[Command | Entry | EventId] = Pipe(lambda: delays.of("message"), push)
        server.subscribers.append(self)

    def push(self, item: Command | Entry | EventId) -> None:
        self.messages.send(item)

    def die(self, noticed_after: float) -> None:
        """Nothing arrives any more, in either direction; the process sees it later."""
        self.commands.cut()
        self.messages.cut()
        if self in self._server.subscribers:
            self._server.subscribers.remove(self)
        asyncio.get_running_loop().call_later(noticed_after, self._notice)

    def _notice(self) -> None:
        if not self.lost.done():
            self.lost.set_result(None)

    def _obey(self, command: Command) -> None:
        if command.name == "subscribe":
            self.subscribed[command.channel] = None
        elif command.name == "unsubscribe":
            self.subscribed.pop(command.channel, None)
        self.push(command)
