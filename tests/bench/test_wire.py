"""What a bench's reader finds in a stream's bytes, whole and cut anywhere."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from gateway.bench.plan import EVENT_TYPE
from gateway.bench.wire import REMEMBERED, Broken, Item, Reader, Tick
from gateway.encodings import EVENT_STREAM
from gateway.frames import chunk, cursor_frame, event_frame, heartbeat_frame, retry_frame
from gateway.ids import EventId

ID = EventId(1764000000000, 3)


def tick(number: int, *, run: str = "r", id: EventId | None = ID) -> bytes:
    return event_frame(EVENT_TYPE, b'{"run":"%b","n":%d}' % (run.encode(), number), id=id)


STREAMS: dict[str, tuple[bytes, list[Item]]] = {
    "a tick": (tick(7), [Tick(7, ID)]),
    "one that is not retained": (tick(7, id=None), [Tick(7, None)]),
    "several": (tick(1) + tick(2), [Tick(1, ID), Tick(2, ID)]),
    "what no client dispatches": (retry_frame(3) + cursor_frame(ID) + heartbeat_frame(ID) + heartbeat_frame(None), []),
    "the gateway's own": (EVENT_STREAM.control("gateway.gap", {"oldest": None}), ["gateway.gap"]),
    "a stranger's": (event_frame("news", b"{}"), ["news"]),
    "another run's": (tick(7, run="other"), [EVENT_TYPE]),
    "a stranger's of the same type": (event_frame(EVENT_TYPE, b"[1]"), [EVENT_TYPE]),
    "one that is no JSON": (event_frame(EVENT_TYPE, b"{"), [EVENT_TYPE]),
    "another order of lines": (b'data:{"run":"r","n":4}\nevent:bench.tick\n\n', [Tick(4, None)]),
    "between others": (event_frame("news", b"1") + tick(5) + heartbeat_frame(ID), ["news", Tick(5, ID)]),
}  # fmt: skip


def feed(reader: Reader, data: bytes, size: int) -> list[Item]:
    return [item for at in range(0, len(data), size) for item in reader.feed(data[at : at + size])]


@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "plain"])
@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("name", STREAMS)
def test_what_is_found(name: str, size: int, chunked: bool) -> None:
    """Every stream gives the same items however its bytes are cut."""
    body, expected = STREAMS[name]
    data = chunk(body) if chunked else body
    assert feed(Reader("r", {}, chunked=chunked), data * 2, size) == expected * 2


def test_an_event_in_two_chunks() -> None:
    """A proxy may cut chunks anywhere, within an event too."""
    frame = tick(7)
    assert feed(Reader("r", {}, chunked=True), chunk(frame[:20]) + chunk(frame[20:]), 9) == [Tick(7, ID)]


def test_one_reader_knows_what_another_read() -> None:
    """The same bytes are parsed once for all readers of a run."""
    memory: dict[bytes, Sequence[Item]] = {}
    first, second = (Reader("r", memory, chunked=True).feed(chunk(tick(7))) for _ in range(2))
    assert first == [Tick(7, ID)]
    assert second is first


def test_what_was_cut_is_not_remembered() -> None:
    """Bytes mean the same elsewhere only when they began and ended between two events."""
    memory: dict[bytes, Sequence[Item]] = {}
    data = chunk(tick(7))
    reader = Reader("r", memory, chunked=True)
    assert [*reader.feed(data[:-5]), *reader.feed(data[-5:] + data)] == [Tick(7, ID)] * 2
    assert memory == {}


def test_memory_is_bounded() -> None:
    """A long run does not keep all that it read."""
    memory: dict[bytes, Sequence[Item]] = {}
    reader = Reader("r", memory, chunked=True)
    for number in range(REMEMBERED + 10):
        reader.feed(chunk(tick(number)))
    assert 0 < len(memory) <= REMEMBERED


def test_the_end_of_the_body() -> None:
    """The last chunk ends the stream."""
    reader = Reader("r", {}, chunked=True)
    assert feed(reader, chunk(tick(7)) + b"0\r\n\r\n", 3) == [Tick(7, ID)]
    assert reader.ended


def test_no_chunk() -> None:
    """What cannot be a chunk is told."""
    with pytest.raises(Broken):
        Reader("r", {}, chunked=True).feed(b"data: 1\r\n")
