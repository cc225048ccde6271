"""Whatever happens in whatever order, every client is given exactly what is due to it, in order.

The machine plays broker, relay and clients around one hub. A publish goes into the history at once and is
announced some time later, so that history may be ahead; a page of history is read at one time and used at
another, as it is when the broker answers slowly. At the end everything is announced, read and drained.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass, field

import hypothesis.strategies as st
from conformance.event_stream import EventStreamParser
from hub.chunks import dechunked
from hub.clock import Clock, turn
from hub.sinks import RecordingSink, announced_since, entry
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.events import Entry
from gateway.hub import Advance, Connection, Frame, Hub, State
from gateway.hub.heartbeat import beat
from gateway.ids import START, EventId

CHANNELS = ["user:a", "user:b", "broadcast", "topic:x"]
TYPES = ["t", "u.v"]
SIZE = len(Frame(entry(10_000)).chunk)
MEMORY = Frame(entry(10_000)).memory
MAX_BUFFER = 8 * SIZE
PAGE = 4
INTERVAL = 15.0


@dataclass(frozen=True)
class Page:
    """What a reading of the history answered."""

    entries: list[Entry]
    upto: EventId
    tip: EventId


@dataclass(eq=False)
class Client:
    connection: Connection
    chunked: bool
    sink: CheckedSink
    began_after: EventId
    due_unretained: list[int] = field(default_factory=list)
    page: Page | None = None

    def is_due(self, item: Entry) -> bool:
        return item.channel in self.connection.channels and self.connection.wants(item.event_type)


class CheckedSink(RecordingSink):
    """Reads what is written as a client does, and holds the promise of how much may wait and be written."""

    def __init__(self, chunked: bool, largest: int) -> None:
        super().__init__()
        self._chunked = chunked
        self._largest = largest
        self._parser = EventStreamParser()
        self.retained: list[int] = []
        self.unretained: list[int] = []

    @property
    def last_event_id(self) -> str:
        return self._parser.last_event_id

    def write(self, data: bytes, /) -> None:
        assert not self.waiting or self.waiting + len(data) <= MAX_BUFFER
        assert len(data) <= MAX_BUFFER // 4 + self._largest
        super().write(data)
        for event in self._parser.feed(b"".join(dechunked(data)) if self._chunked else data):
            number = int(event.data)
            (self.retained if number < 10**6 else self.unretained).append(number)
        assert self._parser.ignored == []


class HubMachine(RuleBasedStateMachine):
    clients = Bundle("clients")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.loop = asyncio.new_event_loop()
        self.loop.time = self.clock.time  # type: ignore[method-assign]
        self.history: list[Entry] = []
        self.under_way: deque[Entry] = deque()
        self.published_unretained = 0
        self.present: list[Client] = []
        self.forgets = False

    @initialize(forgets=st.booleans(), window=st.sampled_from([0, 0.002, 60]))
    def start(self, forgets: bool, window: float) -> None:
        self.forgets = forgets
        self.tail_bytes = 6 * MEMORY if forgets else 10**9
        self.hub = Hub(max_buffer=MAX_BUFFER, join_window=window, tail_bytes=self.tail_bytes)
        self.beating = self.loop.create_task(beat(self.hub, INTERVAL))

    def teardown(self) -> None:
        try:
            if hasattr(self, "hub"):
                self.settle()
        finally:
            self.loop.run_until_complete(self.end())
            self.loop.close()

    async def end(self) -> None:
        if hasattr(self, "beating"):
            self.beating.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.beating

    @property
    def tip(self) -> EventId:
        """The broker's."""
        return (self.history[-1].id or START) if self.history else START

    # What happens

    @rule(
        channel=st.sampled_from(CHANNELS),
        type=st.sampled_from(TYPES),
        size=st.sampled_from([0, 0, 0, SIZE, 10 * SIZE]),
        retained=st.sampled_from([True, True, True, False]),
    )
    def publish(self, channel: str, type: str, size: int, retained: bool) -> None:
        if retained:
            item = entry(self.tip.ms + 1, channel, type, size=size)
            self.history.append(item)
        else:
            self.published_unretained += 1
            item = entry(10**6 + self.published_unretained, channel, type, size=size, retained=False)
        self.under_way.append(item)

    @rule(most=st.integers(1, 8))
    def announce(self, most: int) -> None:
        self.run(self.announce_in_a_turn(most))

    async def announce_in_a_turn(self, most: int) -> None:
        while self.under_way and most:
            item, most = self.under_way.popleft(), most - 1
            if item.id is None:
                for client in self.present:
                    if client.is_due(item):
                        client.due_unretained.append(int(item.data))
                self.hub.dispatch(item)
            elif item.id > self.hub.tip:
                self.hub.dispatch(item)

    @rule(seconds=st.sampled_from([0.001, 0.002, 1, 5, INTERVAL]))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds
        self.run(turn())

    @rule(
        target=clients,
        channels=st.lists(st.sampled_from(CHANNELS), min_size=1, max_size=3),
        types=st.sampled_from([(), (), ("t",), ("u.*",), ("nothing",)]),
        chunked=st.sampled_from([True, True, True, False]),
        behind=st.none() | st.integers(0, 20),
        stalled=st.booleans(),
    )
    def arrive(
        self, channels: list[str], types: tuple[str, ...], chunked: bool, behind: int | None, stalled: bool
    ) -> Client:
        cursor = START if behind is None else EventId(max(self.tip.ms - behind, 0), 0)
        sink = CheckedSink(chunked, largest=11 * SIZE)
        sink.stalled = stalled
        client = Client(Connection(channels, cursor, types=types), chunked, sink, cursor)
        self.present.append(client)
        self.run(self.join(client))
        return client

    async def join(self, client: Client) -> None:
        self.hub.join(client.connection)
        client.connection.attach(client.sink, client.sink.drained, chunked=client.chunked)

    @rule(client=clients)
    def join_again(self, client: Client) -> None:
        if client in self.present:
            self.run(self.join_twice(client))

    async def join_twice(self, client: Client) -> None:
        self.hub.join(client.connection)

    @rule(client=clients, steps=st.integers(1, 6))
    def guide(self, client: Client, steps: int) -> None:
        """What the relay does; a reading of the history may be left under way."""
        for _ in range(steps if client in self.present else 0):
            self.run(self.step(client))

    async def step(self, client: Client) -> Advance | None:
        connection = client.connection
        if client.page is not None:
            return await self.use_page(client, client.page)
        outcome = self.hub.advance(connection)
        if outcome is Advance.NEEDS_HISTORY:
            cursor = connection.cursor or START
            newer = [e for e in self.history if e.channel in connection.channels and e.id is not None and e.id > cursor]
            upto = self.tip if len(newer) <= PAGE else newer[PAGE - 1].id
            assert upto is not None
            client.page = Page(newer[:PAGE], upto, self.tip)
        return outcome

    async def use_page(self, client: Client, page: Page) -> Advance | None:
        announced_since(self.hub, client.connection, page.tip)
        if not self.hub.give(client.connection, [Frame(item) for item in page.entries]):
            return Advance.FULL
        client.connection.cursor = page.upto
        client.page = None
        return None

    @rule(client=clients)
    def stall(self, client: Client) -> None:
        client.sink.stalled = True

    @rule(client=clients)
    def drain(self, client: Client) -> None:
        client.sink.read()

    @rule(client=clients, lingers=st.booleans())
    def leave(self, client: Client, lingers: bool) -> None:
        if client in self.present:
            self.present.remove(client)
            for name in self.hub.leave(client.connection):
                if not lingers:
                    self.hub.drop(name)

    @precondition(lambda self: self.forgets)
    @rule()
    def begin_anew(self) -> None:
        """What is under way with an id is not awaited: history has it."""
        self.run(self.begin())

    async def begin(self) -> None:
        self.hub.begin_anew(self.tip)

    # What must hold

    def run(self, happening: object) -> None:
        self.loop.run_until_complete(happening)  # type: ignore[arg-type]
        self.loop.run_until_complete(turn())

    @invariant()
    def what_arrived_is_due(self) -> None:
        for client in self.present:
            due = self.due(client)
            given = client.sink.retained
            assert given == due[: len(given)]
            last = client.sink.last_event_id
            reached = int(last.partition("-")[0]) if last else 0
            assert not [number for number in due[len(given) :] if number <= reached], "the cursor ran ahead"
            unretained = iter(client.due_unretained)
            assert all(number in unretained for number in client.sink.unretained), "twice, or out of order"

    @invariant()
    def memory_is_bounded(self) -> None:
        if hasattr(self, "hub"):
            held = sum(frame.memory for channel in self.hub.channels.values() for frame in channel.tail)
            assert held <= self.tail_bytes

    @invariant()
    def the_heart_beats(self) -> None:
        assert not hasattr(self, "beating") or not self.beating.done()

    def due(self, client: Client) -> list[int]:
        return [int(item.data) for item in self.history if item.id > client.began_after and client.is_due(item)]  # type: ignore[operator]

    def settle(self) -> None:
        """Everything is announced, every client reads on and is guided to the tip."""
        while self.under_way:
            self.announce(8)
        for client in self.present:
            client.sink.read()
            steps = 0
            while client.connection.state is not State.LIVE or client.page is not None:
                self.run(self.step(client))
                steps += 1
                assert steps < 1000, "it never goes live"
        self.time_passes(60)
        self.what_arrived_is_due()
        for client in self.present:
            assert client.sink.retained == self.due(client)
            if not self.forgets:
                assert client.sink.unretained == client.due_unretained


TestHub = HubMachine.TestCase
TestHub.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
