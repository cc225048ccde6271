"""`GET /v1/events`: where a stream begins, and what is told when something was lost."""

from __future__ import annotations

import json
import re
import time
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from servers import until
from streams import Stream, assert_clean
from web.inprocess import Served, last_arrived, served

from gateway.config import PublishKey

KEYS = (PublishKey("all", "key-for-all"),)
RETRY_BLOCK = re.compile(rb"retry: (\d+)\n\n")
FIRST_BLOCKS = re.compile(rb"retry: (\d+)\n\nid: (\d+-\d+)\n\n")
EVENT_BLOCK = re.compile(rb"id: (\d+-\d+)\nevent: ([^\n]+)\ndata: ([^\n]*)\n\n")


async def published(gateway: Served, count: int, user: str = "alice") -> list[str]:
    return [await gateway.publish(user, data=number) for number in range(count)]


async def test_without_a_cursor_only_what_is_new_comes(gateway: Served) -> None:
    """A client that asks for nothing gets nothing old."""
    await published(gateway, 3)
    async with Stream(gateway.url, "user=alice") as stream:
        await last_arrived(gateway, stream)
        assert stream.events == []


async def test_a_cursor_begins_after_it(gateway: Served) -> None:
    """What came after Last-Event-ID comes once, in order, with the ids it had, and no gap is told."""
    ids = await published(gateway, 10)
    async with Stream(gateway.url, "user=alice", cursor=ids[3]) as stream:
        await last_arrived(gateway, stream)
        assert [(event.last_event_id, event.data) for event in stream.events] == [
            (ids[number], str(number)) for number in range(4, 10)
        ]


async def test_at_the_tip_nothing_is_replayed(gateway: Served) -> None:
    """The cursor of the last event is no gap and gives no event."""
    ids = await published(gateway, 3)
    async with Stream(gateway.url, "user=alice", cursor=ids[-1]) as stream:
        await last_arrived(gateway, stream)
        assert stream.events == []


async def test_the_handed_over_cursor_resumes(gateway: Served) -> None:
    """A client that saw only the id-only block comes back with it and misses nothing."""
    async with Stream(gateway.url, "user=alice") as first:
        await first.position()
    ids = await published(gateway, 3)
    async with first.resumed() as second:
        await last_arrived(gateway, second)
        assert [event.last_event_id for event in second.events] == ids


@pytest.mark.parametrize(("query", "header"), [("&last_event_id=earliest", ""), ("", "earliest"), ("", "0-0")])
async def test_earliest_replays_all_that_is_kept(gateway: Served, query: str, header: str) -> None:
    """`earliest`, in query or header, is no gap: the client asked for what there is."""
    await published(gateway, 3)
    async with Stream(gateway.url, f"user=alice{query}", cursor=header) as stream:
        await last_arrived(gateway, stream)
        assert stream.types == ["x"] * 3


async def test_the_header_wins_over_the_query(gateway: Served) -> None:
    """A page that was loaded with last_event_id= reconnects with the header, and that is where it is now."""
    ids = await published(gateway, 5)
    async with Stream(gateway.url, f"user=alice&last_event_id={ids[0]}", cursor=ids[3]) as stream:
        await last_arrived(gateway, stream)
        assert stream.data() == [4]
    async with Stream(gateway.url, f"user=alice&last_event_id={ids[0]}", headers={"Last-Event-ID": ""}) as stream:
        await last_arrived(gateway, stream)
        assert stream.data("x") == [1, 2, 3, 4]


async def test_several_channels_are_replayed_in_one_order(gateway: Served) -> None:
    """One cursor is exact over the user's channel, the broadcast and topics at once."""
    start = await gateway.publish("somebody")
    paths = ["/v1/users/alice/events", "/v1/broadcast", "/v1/topics/a/events", "/v1/topics/b/events"]
    for number in range(250):
        body = {"event_type": "x", "data": number}
        async with gateway.http.post(paths[number % 4], json=body) as response:
            assert response.status == 202
    async with Stream(gateway.url, "user=alice&topic=a", cursor=start) as stream:
        await last_arrived(gateway, stream)
        assert_clean(stream.data(), [number for number in range(250) if number % 4 != 3])
        ids = [tuple(map(int, event.last_event_id.split("-"))) for event in stream.events]
        assert ids == sorted(set(ids))


async def test_only_the_newest_of_a_key_is_replayed(gateway: Served) -> None:
    """Of events with one key the newest is worth replaying; one past its ttl is not."""
    start = await gateway.publish("alice")
    await gateway.publish("alice", data=1, key="k")
    await gateway.publish("alice", data=2, ttl=0.001)
    await gateway.publish("alice", data=3, key="k")
    await gateway.publish("alice", data=4)
    expired_at = time.monotonic() + 0.01
    await until(lambda: time.monotonic() > expired_at)
    async with Stream(gateway.url, "user=alice", cursor=start) as stream:
        await last_arrived(gateway, stream)
        assert stream.data() == [3, 4]


async def test_foreign_events_are_never_replayed(gateway: Served) -> None:
    """Whatever the cursor, history holds only what the stream listens to."""
    await published(gateway, 3, "bob")
    async with Stream(gateway.url, "user=alice", cursor="earliest") as stream:
        await last_arrived(gateway, stream)
        assert stream.events == []


@pytest.mark.parametrize("cursor", ["1-0", "9999999999999999-0", "9999999999999999-9999999999"])
async def test_a_cursor_that_never_was_is_a_gap(gateway: Served, cursor: str) -> None:
    """An id from before the history or from the future is told as a gap, once; what is kept follows."""
    ids = await published(gateway, 3)
    async with Stream(gateway.url, "user=alice", cursor=cursor) as stream:
        await last_arrived(gateway, stream)
        assert stream.types == ["gateway.gap", "x", "x", "x"]
        assert json.loads(stream.events[0].data) == {"requested": cursor, "oldest": ids[0]}
        assert stream.last_event_id > ids[-1]


async def test_a_gap_with_nothing_kept_still_gives_a_cursor(gateway: Served) -> None:
    """After a gap the client is brought to the tip, so that it is not told the same gap again."""
    tip = await gateway.publish("somebody")
    async with Stream(gateway.url, "user=alice", cursor="nonsense") as first:
        assert (await first.next()).type == "gateway.gap"
        await until(lambda: first.last_event_id == tip, what="the cursor follows the gap")
    async with first.resumed() as second:
        await last_arrived(gateway, second)
        assert second.events == []


async def test_a_trimmed_history_is_a_gap() -> None:
    """A cursor whose successors were dropped is told so; one that is still covered is not."""
    async with served(retention_max_events=5, tail_bytes=0) as gateway:
        ids = await published(gateway, 10)
        async with Stream(gateway.url, "user=alice", cursor=ids[3]) as lost:
            await last_arrived(gateway, lost)
            assert lost.types == ["gateway.gap"] + ["x"] * 5
            assert json.loads(lost.events[0].data) == {"requested": ids[3], "oldest": ids[5]}
    async with served(retention_max_events=5, tail_bytes=0) as gateway:
        ids = await published(gateway, 10)
        async with Stream(gateway.url, "user=alice", cursor=ids[4]) as whole:
            await whole.count(5)
            assert whole.data() == [5, 6, 7, 8, 9]


HEADER_SAFE = st.binary(min_size=1, max_size=300).map(
    lambda data: bytes(byte for byte in data if byte == 9 or 32 <= byte <= 126 or byte >= 128).strip(b" \t")
)
NEARLY = (
    b"- 1 1- -1 1-0-0 01-0 1-00 +1-0 1_0-0 1-0x 0x1-0 1.5-0 1e3-0 $ * > (1-0 Earliest EARLIEST null undefined NaN "
    b"99999999999999999-0 1-99999999999 1:0 1,0-0"
)
NOT_CURSORS = (HEADER_SAFE | st.sampled_from(NEARLY.split())).filter(
    lambda data: bool(data) and data not in (b"earliest",) and not re.fullmatch(rb"\d{1,16}-\d{1,10}", data)
)
MANY = hypothesis_settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


async def told_gap(gateway: Served, target: bytes, headers: bytes = b"") -> dict[str, Any]:
    """The data of the gap that a request is told; it must be the first event of a 200."""
    async with gateway.wire() as (reader, writer):
        writer.write(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        body = await reader.readuntil(b"\n\n\r\n")  # retry
        while b"data: " not in body:
            body = await reader.readuntil(b"\n\n\r\n")
        match = re.search(rb"\r\nevent: gateway\.gap\ndata: ([^\n]+)\n\n\r\n$", b"\r\n" + body)
        assert match, body
        told: dict[str, Any] = json.loads(match[1])
        return told


@given(NOT_CURSORS)
@MANY
async def test_any_garbage_as_last_event_id_is_a_gap(gateway: Served, garbage: bytes) -> None:
    """Whatever bytes a header can hold: 200 and a gap, never an error, and nothing of it forges a line."""
    told = await told_gap(gateway, b"/v1/events?user=alice", b"Last-Event-ID: " + garbage + b"\r\n")
    assert told["oldest"] is None
    assert told["requested"].isascii()
    assert len(told["requested"]) <= 64


@given(st.text(min_size=1, max_size=100))
@MANY
async def test_any_garbage_in_the_query_is_a_gap(gateway: Served, garbage: str) -> None:
    """The same for last_event_id=, where any character can come in."""
    assume(garbage != "earliest" and not re.fullmatch(r"\d{1,16}-\d{1,10}", garbage))
    target = f"/v1/events?user=alice&last_event_id={quote(garbage, safe='', errors='surrogatepass')}"
    told = await told_gap(gateway, target.encode())
    assert told["requested"].isascii()
