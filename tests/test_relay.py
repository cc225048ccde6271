from __future__ import annotations

import asyncio

from gateway.broker.memory import MemoryBroker
from gateway.hub import Connection, Hub
from gateway.ids import EventId
from gateway.relay import Relay


class SlowBroker(MemoryBroker):
    """Counts readings of the tip; each tells how many had begun."""

    def __init__(self) -> None:
        super().__init__()
        self.readings = 0
        self.go_on = asyncio.Event()

    async def tip(self) -> EventId:
        self.readings += 1
        began = self.readings
        await self.go_on.wait()
        return EventId(began, 0)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_newcomers_share_a_reading_of_the_tip() -> None:
    """One that begins after all who share it were ready: those who came while one was under way wait for the next."""
    broker = SlowBroker()
    relay = Relay(Hub(), broker)
    await relay.start()
    early = [Connection(["user:a"]) for _ in range(50)]
    late = [Connection(["user:b"]) for _ in range(50)]
    opening = [asyncio.create_task(relay.open(connection)) for connection in early]
    await settle()
    assert broker.readings == 1
    opening += [asyncio.create_task(relay.open(connection)) for connection in late]
    await settle()
    assert broker.readings == 1
    broker.go_on.set()
    await asyncio.gather(*opening)
    assert broker.readings == 2
    assert {connection.cursor for connection in early} == {EventId(1, 0)}
    assert {connection.cursor for connection in late} == {EventId(2, 0)}
    await relay.open(another := Connection(["user:c"]))
    assert another.cursor == EventId(3, 0)
    await relay.close()


async def test_who_gives_up_does_not_take_the_reading_from_others() -> None:
    """A client that leaves while the tip is read; the others are served."""
    broker = SlowBroker()
    relay = Relay(Hub(), broker)
    await relay.start()
    leaver, stayer = (asyncio.create_task(relay.open(Connection(["user:a"]))) for _ in range(2))
    await settle()
    leaver.cancel()
    await settle()
    assert leaver.cancelled()
    broker.go_on.set()
    await stayer
    await relay.close()
