"""Bodies: what msgspec takes is what `json` would have made of it, and what it does not take `json` decides."""

from __future__ import annotations

import gzip
import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from web.inprocess import JSON, Served, kept, served

from gateway.errors import InvalidRequest
from gateway.web import bodies

texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)
numbers = st.from_regex(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
strings = st.lists(
    st.sampled_from(["\\u", "d83d", "\\ude00", "0041", "\\n", "\\/", "\\", '"', "é", "\x7f", "\u2028", "a", "\n"])
).map(lambda parts: f'"{"".join(parts)}"')
scraps = st.lists(st.sampled_from([*"{}[],: \t\r\n\x0b\ufeff01-.eE\"'", '"a"', "null", "true", "NaN", "Infinity"]))
bodies_sent = (
    st.builds(json.dumps, values, ensure_ascii=st.booleans(), indent=st.sampled_from([None, 1])).map(str.encode)
    | numbers.map(str.encode)
    | strings.map(str.encode)
    | st.builds(lambda name, a, b: f'{{"{name}":{a},"b":1,"{name}":{b}}}'.encode(), st.just("a"), numbers, numbers)
    | scraps.map(lambda parts: "".join(parts).encode())
    | st.binary()
    | st.builds(lambda before, inside: b'{"' + before + b'":"' + inside + b'"}', st.binary(), st.binary())
)


def by_json(body: bytes) -> object:
    """As it is without the fast reader: the value, or the error's text."""
    try:
        return bodies._json_or_why(bodies._utf8(body), "[7]")
    except InvalidRequest as error:
        return str(error)


def by_both(body: bytes) -> object:
    try:
        return bodies._json(body, "[7]")
    except InvalidRequest as error:
        return str(error)


@settings(max_examples=1000, deadline=None)
@given(bodies_sent)
def test_the_fast_reader_changes_nothing(body: bytes) -> None:
    """Whatever bytes come, they give the same value, of the same types and in the same order, or the same error."""
    assert repr(by_both(body)) == repr(by_json(body))


@pytest.mark.parametrize(
    "body",
    [
        *(
            b"-0",
            b"-0.0",
            b"1e5",
            b"1E+5",
            b"1e-400",
            b"1e400",
            b"0.1",
            b"5e-324",
            b"2.5e-324",
            b"9" * 4300,
            b"9" * 4301,
        ),
        *(b"-" + b"9" * 4300, b"9007199254740993.0", b"1" + b"0" * 400 + b".0", b"01", b"1.", b".5", b"+1", b"--1"),
        *(
            b"NaN",
            b"-Infinity",
            b'"\\ud800"',
            b'"\\ud83d\\ude00"',
            b'"\\udc00\\ud800"',
            b'{"\\ud800":1}',
            b'"\\ud83dx"',
        ),
        *(b'"\xff"', b'{"\xff":1}', b'"\xed\xa0\x80"', b'"\xc0\x80"', b"\xef\xbb\xbf1", b"1\xff", b'"a\nb"', b'"\x7f"'),
        *(b"", b" ", b"1 2", b"[1,]", b'{"a":1,}', b"{'a':1}", b"// 1", b"\xc2\xa01", b"\x0b1", b"1\0", b"\0"),
        *(b"[" * 100_000, b'{"a":' * 100_000, b"[" * 100_000 + b"]" * 100_000, b'{"a":1,"b":2,"a":3}'),
    ],
    ids=lambda body: ascii(body[:24]),
)
def test_the_corners_of_json_are_the_same(body: bytes) -> None:
    """Numbers at their ends, surrogates, bytes that are no UTF-8, doubled names and depth read as `json` reads them."""
    assert repr(by_both(body)) == repr(by_json(body))


@pytest.mark.parametrize("body", [b"NaN", b'"\\ud800"', b"1e400", b"-" + b"9" * 4300])
def test_what_only_json_takes_is_taken(body: bytes) -> None:
    """What msgspec refuses is not lost: whether such data can be an event is for the event to say, by its field."""
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(body)
    assert repr(bodies._json(body)) == repr(json.loads(body))


async def sent_in_pieces(gateway: Served, body: bytes, at: int) -> bytes:
    """The status line of an event whose body comes late; the handler waits for it."""
    async with gateway.wire() as (reader, writer):
        head = b"POST /v1/users/alice/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        writer.write(head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body[:at]))
        await writer.drain()
        async with gateway.http.get("/livez") as response:  # it has been read by now, and is not the end
            assert response.status == 200
        writer.write(body[at:])
        return await reader.readline()


@pytest.mark.parametrize("at", [0, 1, 20])
async def test_a_body_may_come_in_pieces(gateway: Served, at: int) -> None:
    """It is waited for, whether nothing or a part of it came with the headers."""
    body = json.dumps({"event_type": "x", "data": "in pieces"}).encode()
    assert await sent_in_pieces(gateway, body, at) == b"HTTP/1.1 202 Accepted\r\n"
    assert await kept(gateway) == [("x", "in pieces")]


@pytest.mark.parametrize("at", [0, 200, 600])
async def test_the_limit_holds_for_a_body_in_pieces(at: int) -> None:
    """A body over the limit is refused however it comes; one of exactly the limit is taken."""
    async with served(max_event_bytes=400, max_body_bytes=500) as small:
        body = json.dumps({"event_type": "x", "data": 1}).encode()
        assert await sent_in_pieces(small, body.ljust(500), min(at, 499)) == b"HTTP/1.1 202 Accepted\r\n"
        assert (await sent_in_pieces(small, body.ljust(601), at)).startswith(b"HTTP/1.1 413 ")


async def test_a_compressed_body_is_as_large_as_what_it_holds() -> None:
    """A small body that grows over the limit when it is decompressed is refused."""
    body = gzip.compress(json.dumps({"event_type": "x", "data": 1}).encode().ljust(100_000))
    async with served(max_event_bytes=400, max_body_bytes=2000) as small:
        headers = JSON | {"Content-Encoding": "gzip"}
        async with small.http.post("/v1/broadcast", data=body, headers=headers) as response:
            assert response.status == 413
