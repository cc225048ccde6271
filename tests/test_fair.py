from __future__ import annotations

import asyncio
import selectors
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from gateway.fair import FIRST_PER_TURN, LAST_PER_TURN, FairLoop, FairSelector, new_event_loop, put_last

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


@pytest.fixture
def selector() -> Iterator[FairSelector]:
    made = FairSelector()
    yield made
    made.close()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def ready_pairs(stack: ExitStack, count: int) -> list[socket.socket]:
    """So many sockets with something to read."""
    ready = []
    for _ in range(count):
        one, other = (stack.enter_context(end) for end in socket.socketpair())
        other.send(b"x")
        ready.append(one)
    return ready


def test_it_is_a_selector(selector: FairSelector, stack: ExitStack) -> None:
    """Registering, changing, asking, and what is ready: as the standard library's do it."""
    one, other = (stack.enter_context(end) for end in socket.socketpair())
    key = selector.register(one, READ, "data")
    assert key == (one, one.fileno(), READ, "data") == selector.get_key(one) == selector.get_map()[one.fileno()]
    assert selector.select(0) == []
    other.send(b"x")
    assert selector.select(None) == [(key, READ)]
    both = selector.modify(one, READ | WRITE, "more")
    assert selector.select(1) == [(both, READ | WRITE)]
    other.close()
    assert selector.select(1) == [(both, READ | WRITE)]
    with pytest.raises(KeyError):
        selector.register(one, READ)
    assert selector.unregister(one) == both
    assert selector.select(0) == []
    for method in (selector.get_key, selector.unregister):
        with pytest.raises(KeyError):
            method(one)


def test_what_was_closed_can_be_unregistered(selector: FairSelector, stack: ExitStack) -> None:
    """The kernel forgets a closed descriptor by itself."""
    one, _ = (stack.enter_context(end) for end in socket.socketpair())
    selector.register(descriptor := one.fileno(), READ)
    one.close()
    assert selector.unregister(descriptor).fd == descriptor


def test_a_turn_serves_some_of_those_put_last_and_goes_round(selector: FairSelector, stack: ExitStack) -> None:
    """However many are ready, few are handed over at a time, others before them, and each gets its turn."""
    crowd, vip = ready_pairs(stack, 100), ready_pairs(stack, 1)[0]
    for sock in crowd[:50]:
        selector.put_last(sock)
    for sock in (*crowd, vip):
        selector.register(sock, READ)
    for sock in crowd[50:]:
        selector.put_last(sock)
    served: list[object] = []
    while len(set(served)) < len(crowd):
        turn = [key.fileobj for key, _ in selector.select(0)]
        assert turn[0] is vip
        assert len(turn) == 1 + LAST_PER_TURN
        served += turn[1:]
        assert len(served) < 3 * len(crowd)


def test_of_the_others_too_only_so_many(selector: FairSelector, stack: ExitStack) -> None:
    """A turn is bounded, whoever is ready."""
    for sock in ready_pairs(stack, FIRST_PER_TURN + 10):
        selector.register(sock, READ)
    assert len(selector.select(0)) == FIRST_PER_TURN


def test_a_descriptor_used_again_is_not_put_last(selector: FairSelector, stack: ExitStack) -> None:
    """What was put last was the stream, not whoever is given its number afterwards."""
    sock = ready_pairs(stack, 1)[0]
    selector.register(sock, READ)
    selector.put_last(sock)
    selector.put_last(sock)
    selector.unregister(sock)
    crowd = ready_pairs(stack, LAST_PER_TURN + 1)
    for other in crowd:
        selector.put_last(other)
        selector.register(other, READ)
    selector.register(sock, READ)
    assert selector.select(0)[0][0].fileobj is sock


def test_streams_work_on_it() -> None:
    """asyncio's own servers and connections, put last or not, and nothing is put last elsewhere."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        put_last(writer.get_extra_info("socket"))
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    async def talk() -> bytes:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        put_last(server.sockets[0])
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"a\n" * 100_000)
        writer.write_eof()
        echoed = await reader.read(-1)
        writer.close()
        server.close()
        return echoed

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        assert isinstance(runner.get_loop(), FairLoop)
        assert runner.run(talk()) == b"a\n" * 100_000
    with asyncio.Runner() as runner:
        assert runner.run(talk()) == b"a\n" * 100_000
