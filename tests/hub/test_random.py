"""Whatever happens in whatever order, every client is given exactly what is due to it, in order.

A world plays broker, relay and clients around one hub. A publish goes into the history at once and is announced
some time later, so that history may be ahead; a page of history is read at one time and used at another, as it is
when the broker answers slowly. After each step nothing may have arrived that was not due next; at the end all is
announced, read and drained, and nothing may be missing. A seed names a course of events for good.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import pytest
from hub.chunks import dechunked
from hub.clock import Clock, turn
from hub.sinks import RecordingSink, announced_since, entry

from gateway.event_stream import EventStreamParser
from gateway.events import Entry
from gateway.hub import Advance, Connection, Frame, Hub, State
from gateway.hub.heartbeat import beat
from gateway.ids import START, EventId

SEEDS = 60
STEPS = 300

CHANNELS = ["user:a", "user:b", "broadcast", "topic:x"]
TYPES = ["t", "u.v"]
FILTERS = [(), (), (), ("t",), ("u.*",), ("nothing",)]
UNRETAINED = 100_000
"""Numbers from here on have no id."""

SIZE = len(Frame(entry(UNRETAINED)).chunk)
MEMORY = Frame(entry(UNRETAINED)).memory
MAX_BUFFER = 8 * SIZE
LARGEST = 12 * SIZE
PAGE = 4
INTERVAL = 15.0
SLOWEST_LOOK = 5.0


@dataclass(frozen=True)
class Page:
    """What a reading of the history answered."""

    entries: list[Entry]
    upto: EventId
    tip: EventId


class CheckedSink(RecordingSink):
    """Reads what is written as a client does, and holds the promise of how much may wait and be written."""

    def __init__(self, clock: Clock, *, chunked: bool, stalled: bool) -> None:
        super().__init__(stalled=stalled)
        self.parser = EventStreamParser()
        self.retained: list[int] = []
        self.unretained: list[int] = []
        self.heard_at = clock.now
        self._clock = clock
        self._chunked = chunked

    def write(self, data: bytes, /) -> None:
        assert not self.waiting or self.waiting + len(data) <= MAX_BUFFER, "too much waits"
        assert len(data) <= MAX_BUFFER // 4 + LARGEST, "too much in one write"
        super().write(data)
        self.heard_at = self._clock.now
        for event in self.parser.feed(b"".join(dechunked(data)) if self._chunked else data):
            number = int(event.data)
            (self.retained if number < UNRETAINED else self.unretained).append(number)
        assert self.parser.ignored == []

    def read(self) -> None:
        if self.waiting:
            self.heard_at = self._clock.now
        super().read()


@dataclass(eq=False)
class Client:
    connection: Connection
    sink: CheckedSink
    began_after: EventId
    due: list[int] = field(default_factory=list)
    due_unretained: list[int] = field(default_factory=list)
    page: Page | None = None

    def is_due(self, item: Entry) -> bool:
        return item.channel in self.connection.channels and self.connection.wants(item.event_type)


class World:
    def __init__(self, seed: int, clock: Clock) -> None:
        self.random = Random(seed)
        self.clock = clock
        self.forgets = self.random.random() < 0.5
        self.tail_bytes = 6 * MEMORY if self.forgets else 10**9
        window = self.random.choice([0, 0.002, 60])
        self.hub = Hub(max_buffer=MAX_BUFFER, join_window=window, tail_bytes=self.tail_bytes)
        self.history: list[Entry] = []
        self.under_way: deque[Entry] = deque()
        self.unretained = 0
        self.clients: list[Client] = []
        self.happenings: list[tuple[Callable[[], None], int]] = [
            (self.publish, 30),
            (self.announce, 25),
            (self.guide_somebody, 25),
            (self.arrive, 6),
            (self.leave, 3),
            (self.stall, 6),
            (self.drain, 8),
            (self.time_passes, 8),
            (self.join_again, 1),
            (self.begin_anew, int(self.forgets)),
        ]

    @property
    def tip(self) -> EventId:
        """The broker's."""
        return (self.history[-1].id or START) if self.history else START

    def step(self) -> None:
        happenings, weights = zip(*self.happenings, strict=True)
        [happening] = self.random.choices(happenings, weights)
        happening()

    def anybody(self) -> Client | None:
        return self.random.choice(self.clients) if self.clients else None

    # What happens

    def publish(self) -> None:
        for _ in range(self.random.randint(1, 4)):
            channel, kind = self.random.choice(CHANNELS), self.random.choice(TYPES)
            size = self.random.choice([0, 0, 0, 0, SIZE, 10 * SIZE])
            if self.random.random() < 0.75:
                item = entry(self.tip.ms + 1, channel, kind, size=size)
                self.history.append(item)
                for client in self.clients:
                    if client.is_due(item) and item.id is not None and item.id > client.began_after:
                        client.due.append(item.id.ms)
            else:
                self.unretained += 1
                item = entry(UNRETAINED + self.unretained, channel, kind, size=size, retained=False)
            self.under_way.append(item)

    def announce(self) -> None:
        for _ in range(min(self.random.randint(1, 8), len(self.under_way))):
            item = self.under_way.popleft()
            if item.id is None:
                for client in self.clients:
                    if client.is_due(item):
                        client.due_unretained.append(int(item.data))
            if item.id is None or item.id > self.hub.tip:
                self.hub.dispatch(item)

    def arrive(self) -> None:
        channels = self.random.sample(CHANNELS, self.random.randint(1, 3))
        behind = self.random.choice([0, 0, 0, 1, 5, 20, 10**6])
        cursor = EventId(max(self.tip.ms - behind, 0), 0)
        connection = Connection(channels, cursor, types=self.random.choice(FILTERS))
        chunked = self.random.random() < 0.8
        sink = CheckedSink(self.clock, chunked=chunked, stalled=self.random.random() < 0.2)
        client = Client(connection, sink, cursor)
        client.due = [e.id.ms for e in self.history if e.id is not None and e.id > cursor and client.is_due(e)]
        self.clients.append(client)
        self.hub.join(connection)
        straight = sink.send if self.random.random() < 0.7 else None
        connection.attach(sink, chunked=chunked, send=straight)
        self.guide(client, steps=self.random.randint(0, 20))

    def join_again(self) -> None:
        if (client := self.anybody()) is not None:
            self.hub.join(client.connection)

    def leave(self) -> None:
        if (client := self.anybody()) is not None:
            self.clients.remove(client)
            for name in self.hub.leave(client.connection):
                if self.random.random() < 0.5:  # else it lingers
                    assert self.hub.drop(name)

    def stall(self) -> None:
        if (client := self.anybody()) is not None:
            client.sink.stalled = True

    def drain(self) -> None:
        if (client := self.anybody()) is not None:
            client.sink.read()
            self.guide(client, steps=self.random.randint(0, 4))

    def time_passes(self) -> None:
        self.clock.now += self.random.choice([0.001, 0.002, 0.5, 1, SLOWEST_LOOK])

    def begin_anew(self) -> None:
        """What is under way with an id is not awaited: history has it."""
        self.hub.begin_anew(self.tip)

    # What the relay does

    def guide_somebody(self) -> None:
        if (client := self.anybody()) is not None:
            self.guide(client, self.random.randint(1, 6))

    def guide(self, client: Client, steps: int) -> None:
        """It may be left with a reading of the history under way."""
        for _ in range(steps):
            if client.page is not None:
                self.use(client, client.page)
            elif self.hub.advance(client.connection) is Advance.NEEDS_HISTORY:
                client.page = self.read(client.connection)

    def read(self, connection: Connection) -> Page:
        cursor = connection.cursor or START
        newer = [e for e in self.history if e.channel in connection.channels and e.id is not None and e.id > cursor]
        upto = self.tip if len(newer) <= PAGE else newer[PAGE - 1].id
        return Page(newer[:PAGE], upto or START, self.tip)

    def use(self, client: Client, page: Page) -> None:
        announced_since(self.hub, client.connection, page.tip)
        if self.hub.give(client.connection, [Frame(item) for item in page.entries]):
            client.connection.cursor = page.upto
            client.page = None

    # What must hold

    def check(self) -> None:
        for client in self.clients:
            sink = client.sink
            assert sink.retained == client.due[: len(sink.retained)], "what arrived was not due"
            reached = EventId.parse(sink.parser.last_event_id).ms if sink.parser.last_event_id else 0
            missing = client.due[len(sink.retained) :]
            assert not missing or reached < missing[0], "the client's cursor ran ahead"
            unretained = iter(client.due_unretained)
            assert all(number in unretained for number in sink.unretained), "twice, or out of order"
            silent = self.clock.now - sink.heard_at
            assert sink.waiting or silent <= INTERVAL + SLOWEST_LOOK, "it was left in silence"
        held = sum(frame.memory for channel in self.hub.channels.values() for frame in channel.tail)
        assert held <= self.tail_bytes, "the tails hold too much"

    async def settle(self) -> None:
        """Everything is announced, every client reads on and is guided to the tip."""
        while self.under_way:
            self.announce()
        for client in self.clients:
            client.sink.read()
            for _ in range(1000):
                if client.connection.state is State.LIVE and client.page is None:
                    break
                self.guide(client, steps=1)
            else:
                pytest.fail("it never goes live")
        self.hub.flush()
        await turn()
        self.check()
        for client in self.clients:
            assert client.sink.retained == client.due
            assert self.forgets or client.sink.unretained == client.due_unretained


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_every_client_is_given_exactly_what_is_due(clock: Clock, seed: int) -> None:
    """Nothing is lost, repeated or out of order, nobody is left in silence, and memory stays bounded."""
    world = World(seed, clock)
    heart = asyncio.create_task(beat(world.hub, INTERVAL))
    try:
        for _ in range(STEPS):
            world.step()
            await turn()
            world.check()
        await world.settle()
        assert not heart.done()
    finally:
        heart.cancel()
        await asyncio.gather(heart, return_exceptions=True)
