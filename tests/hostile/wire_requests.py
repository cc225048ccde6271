"""Requests that no honest client sends: each would publish, or open a stream, if it were taken for what it pretends."""

from __future__ import annotations

import gzip

EVENT = b'{"event_type":"x","data":1}'
PATH = b"/v1/users/mallory/events"
TYPE = b"Content-Type: application/json\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(EVENT)
BOMB = gzip.compress(b" " * 50_000_000)
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(EVENT), EVENT)


def post(
    *, head: bytes = b"", body: bytes = EVENT, line: bytes = b"POST " + PATH + b" HTTP/1.1", host: bytes = b"g"
) -> bytes:
    """A publish with `head` among its fields."""
    return line + b"\r\nHost: " + host + b"\r\n" + TYPE + head + b"\r\n" + body


def get(*, head: bytes = b"", line: bytes = b"GET /v1/events?user=mallory HTTP/1.1") -> bytes:
    return line + b"\r\nHost: g\r\n" + head + b"\r\n"


MALFORMED = {
    # The request line
    "HTTP/0.9": b"GET /livez\r\n\r\n",
    "a line alone": b"POST\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    "TLS hello": bytes.fromhex("16030100a5010000a10303") + bytes(range(160)),
    "TLS hello of two lines": bytes.fromhex("16030100a5") + b"\r\n\r\n\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "a Redis command": b"*1\r\n$4\r\nPING\r\n\r\n",
    "a PROXY line": b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n" + post(head=LENGTH),
    "zeros": b"\0" * 64 + b"\r\n\r\n",
    "no version": post(line=b"POST " + PATH, head=LENGTH),
    "version 9.9": post(line=b"POST " + PATH + b" HTTP/9.9", head=LENGTH),
    "version 2": post(line=b"POST " + PATH + b" HTTP/2", head=LENGTH),
    "version in small letters": post(line=b"POST " + PATH + b" http/1.1", head=LENGTH),
    "a word after the version": post(line=b"POST " + PATH + b" HTTP/1.1 HTTP/1.1", head=LENGTH),
    "a space before the method": post(line=b" POST " + PATH + b" HTTP/1.1", head=LENGTH),
    "a NUL in the method": post(line=b"PO\0ST " + PATH + b" HTTP/1.1", head=LENGTH),
    "a NUL in the path": post(line=b"POST " + PATH + b"\0 HTTP/1.1", head=LENGTH),
    "a space in the path": post(line=b"POST " + PATH + b" x HTTP/1.1", head=LENGTH),
    "a bare CR in the line": post(line=b"POST " + PATH + b"\rHTTP/1.1", head=LENGTH),
    "a line beyond its limit": post(line=b"POST " + PATH + b"?" + b"x" * 20_000 + b" HTTP/1.1", head=LENGTH),
    "a method beyond its limit": post(line=b"P" * 20_000 + b" " + PATH + b" HTTP/1.1", head=LENGTH),
    "asterisk": post(line=b"POST * HTTP/1.1", head=LENGTH),
    "CONNECT": b"CONNECT g:80 HTTP/1.1\r\nHost: g:80\r\n\r\n",
    "a path without a slash": post(line=b"POST " + PATH[1:] + b" HTTP/1.1", head=LENGTH),
    # Fields
    "no Host": b"POST " + PATH + b" HTTP/1.1\r\n" + TYPE + LENGTH + b"\r\n" + EVENT,
    "two Hosts": post(head=b"Host: h\r\n" + LENGTH),
    "a field without a colon": post(head=b"nonsense\r\n" + LENGTH),
    "a field without a name": post(head=b": nonsense\r\n" + LENGTH),
    "a space before the colon": post(head=b"Content-Length : %d\r\n" % len(EVENT)),
    "a folded field": post(head=b"X: a\r\n b\r\n" + LENGTH),
    "a folded length": post(head=b"Content-Length:\r\n %d\r\n" % len(EVENT)),
    "a first field that is folded": b"POST " + PATH + b" HTTP/1.1\r\n Host: g\r\n" + TYPE + LENGTH + b"\r\n" + EVENT,
    "a NUL in a value": post(head=b"X: a\0b\r\n" + LENGTH),
    "a NUL in a name": post(head=b"X\0Y: a\r\n" + LENGTH),
    "a CR in a value": post(head=b"X: a\rY: b\r\n" + LENGTH),
    "bare LFs": post(head=LENGTH).replace(b"\r\n", b"\n"),
    "a bare LF between fields": post(head=b"X: a\n" + LENGTH),
    "a bracket in a name": post(head=b"X[a]: b\r\n" + LENGTH),
    "a byte beyond ASCII in a name": post(head=b"X\xe9: b\r\n" + LENGTH),
    "a field beyond its limit": post(head=b"X: " + b"x" * 20_000 + b"\r\n" + LENGTH),
    "a name beyond its limit": post(head=b"X" * 20_000 + b": x\r\n" + LENGTH),
    "100,000 fields": post(head=b"X: y\r\n" * 100_000 + LENGTH),
    # The length
    "length -5": post(head=b"Content-Length: -5\r\n"),
    "length +27": post(head=b"Content-Length: +27\r\n"),
    "length 0x1b": post(head=b"Content-Length: 0x1b\r\n"),
    "length 2_7": post(head=b"Content-Length: 2_7\r\n"),
    "length 27.0": post(head=b"Content-Length: 27.0\r\n"),
    "length 27 27": post(head=b"Content-Length: 27 27\r\n"),
    "length 27, 27": post(head=b"Content-Length: 27, 27\r\n"),
    "length of nothing": post(head=b"Content-Length:\r\n"),
    "length in Arabic digits": post(head="Content-Length: ٢٧\r\n".encode()),
    "a length beyond 64 bits": post(head=b"Content-Length: 1" + b"0" * 30 + b"\r\n"),
    "two lengths that differ": post(head=LENGTH + b"Content-Length: 0\r\n"),
    "two lengths that agree": post(head=LENGTH + LENGTH),
    # Transfer codings
    "a length and chunks": post(head=LENGTH + b"Transfer-Encoding: chunked\r\n", body=CHUNKED),
    "chunks and a length": post(head=b"Transfer-Encoding: chunked\r\n" + LENGTH, body=CHUNKED),
    "an unknown coding": post(head=b"Transfer-Encoding: xchunked\r\n", body=CHUNKED),
    "an unknown coding last": post(head=b"Transfer-Encoding: chunked, x\r\n", body=CHUNKED),
    "chunked twice": post(head=b"Transfer-Encoding: chunked, chunked\r\n", body=CHUNKED),
    "chunked in two fields": post(head=b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", body=CHUNKED),
    "chunked and identity": post(head=b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", body=CHUNKED),
    "chunked after a tab": post(head=b"Transfer-Encoding: x,\tchunked\r\n", body=CHUNKED),
    "chunked after a VT": post(head=b"Transfer-Encoding: \x0bchunked\r\n", body=CHUNKED),
    "chunks in HTTP/1.0": post(
        line=b"POST " + PATH + b" HTTP/1.0", head=b"Transfer-Encoding: chunked\r\n" + LENGTH, body=CHUNKED
    ),
    # Chunks
    **{
        f"chunk {name}": post(head=b"Transfer-Encoding: chunked\r\n", body=body)
        for name, body in {
            "size -1": b"-1\r\n" + EVENT + b"\r\n0\r\n\r\n",
            "size 0x1b": b"0x1b\r\n" + EVENT + b"\r\n0\r\n\r\n",
            "size +1b": b"+1b\r\n" + EVENT + b"\r\n0\r\n\r\n",
            "size of nothing": b"\r\n" + EVENT + b"\r\n0\r\n\r\n",
            "size beyond 64 bits": b"f" * 17 + b"\r\n" + EVENT,
            "size with a space before": b" 1b\r\n" + EVENT + b"\r\n0\r\n\r\n",
            "size with a space after": b"1b \r\n" + EVENT + b"\r\n0\r\n\r\n",
            "size with a bare LF": b"1b\n" + EVENT + b"\r\n0\r\n\r\n",
            "extension with a bare LF": b"1b;a\n" + EVENT + b"\r\n0\r\n\r\n",
            "extension with a CR": b"1b;a\rb\r\n" + EVENT + b"\r\n0\r\n\r\n",
            "without its end": b"1b\r\n" + EVENT + b"0\r\n\r\n",
            "with more than its size": b"5\r\n" + EVENT + b"\r\n0\r\n\r\n",
            "with another end": b"1b\r\n" + EVENT + b"xx0\r\n\r\n",
            "last with a bare LF": b"1b\r\n" + EVENT + b"\r\n0\n\n",
            "with 100,000 trailers": b"1b\r\n" + EVENT + b"\r\n0\r\n" + b"X: y\r\n" * 100_000 + b"\r\n",
        }.items()
    },
    # The body
    "a body cut off": post(head=b"Content-Length: 500\r\n"),
    "a body that is not in its coding": post(head=b"Content-Encoding: gzip\r\n" + LENGTH),
    "a coding that nobody knows": post(head=b"Content-Encoding: compress-me\r\n" + LENGTH),
}

PUBLISHED = post(head=LENGTH)
LEGAL = {
    # name: (bytes, the statuses of the answers, whether an event is published)
    "absolute form": (get(line=b"GET http://g/livez HTTP/1.1"), ["200"], False),
    "absolute form of another host": (get(line=b"GET http://other/livez HTTP/1.1"), ["200"], False),
    "an empty line before": (b"\r\n" + PUBLISHED, ["202"], True),
    "HTTP/1.0": (post(line=b"POST " + PATH + b" HTTP/1.0", head=LENGTH), ["202"], True),
    "three in one write": (PUBLISHED + get(line=b"GET /livez HTTP/1.1") + PUBLISHED, ["202", "200", "202"], True),
    "100-continue": (post(head=b"Expect: 100-continue\r\n" + LENGTH), ["100", "202"], True),
    "another expectation": (post(head=b"Expect: a miracle\r\n" + LENGTH), ["417"], False),
    "an upgrade to WebSocket": (post(head=b"Connection: Upgrade\r\nUpgrade: websocket\r\n" + LENGTH), ["202"], True),
    "an upgrade to HTTP/2": (
        post(head=b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n" + LENGTH),
        ["202"],
        True,
    ),
    "chunks": (post(head=b"Transfer-Encoding: chunked\r\n", body=CHUNKED), ["202"], True),
    "CHUNKED": (post(head=b"Transfer-Encoding: CHUNKED\r\n", body=CHUNKED), ["202"], True),
    "HEAD": (get(line=b"HEAD /v1/events?user=mallory HTTP/1.1"), ["405"], False),
    "TRACE": (get(line=b"TRACE /v1/events HTTP/1.1", head=b"Cookie: gateway_token=secret\r\n"), ["405"], False),
    "an unknown method": (get(line=b"PROPFIND /v1/events HTTP/1.1"), ["405"], False),
    "a body that asks for more room": (
        post(head=b"Content-Length: 5000000\r\n", body=b"x" * 5_000_000),
        ["413"],
        False,
    ),
    "a bomb": (post(head=b"Content-Encoding: gzip\r\nContent-Length: %d\r\n" % len(BOMB), body=BOMB), ["413"], False),
}

AFTER_A_STREAM = get() + PUBLISHED
"""What comes after the request for a stream, on the same connection, is nobody's request."""
