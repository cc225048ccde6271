from __future__ import annotations

import asyncio
import gc

from gateway.client.perloop import PerLoop


class Resource:
    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.disposed_in: list[asyncio.AbstractEventLoop] = []

    async def dispose(self) -> None:
        self.disposed_in.append(asyncio.get_running_loop())


def per_loop() -> PerLoop[Resource]:
    return PerLoop(Resource, Resource.dispose)


async def test_a_loop_has_one() -> None:
    """Callers in one loop share a resource, also when they come at the same time."""
    resources = per_loop()
    first, second = await asyncio.gather(resources.get(), resources.get())
    assert first is second is await resources.get()
    await resources.close()


async def test_close_disposes_once_and_the_next_is_new() -> None:
    """Closing disposes of the resource once; who asks afterwards is given a new one."""
    resources = per_loop()
    first = await resources.get()
    await resources.close()
    await resources.close()
    assert len(first.disposed_in) == 1
    second = await resources.get()
    assert second is not first
    assert second.disposed_in == []
    await resources.close()


def test_each_loop_has_its_own_and_ends_it() -> None:
    """Loops that follow each other get a resource each, disposed of in its own loop, without any close()."""
    resources = per_loop()
    used = [asyncio.run(resources.get()) for _ in range(3)]
    assert len(set(map(id, used))) == 3
    assert all(resource.disposed_in == [resource.loop] for resource in used)


def test_a_loop_that_was_not_ended_properly_is_forgotten() -> None:
    """A closed loop is let go of when the next one asks."""
    resources = per_loop()
    loop = asyncio.new_event_loop()
    lost = loop.run_until_complete(resources.get())
    loop.close()
    asyncio.run(resources.get())
    assert loop not in resources._held
    assert lost.disposed_in == []
    gc.collect()
