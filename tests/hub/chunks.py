"""The chunked transfer coding, read strictly (RFC 9112, 7.1): no extensions, no trailers, nothing left over."""

from __future__ import annotations


def dechunked(stream: bytes) -> list[bytes]:
    """The content of each chunk. `AssertionError` for anything but whole chunks that do not end the body."""
    contents = []
    while stream:
        size_line, line_end, rest = stream.partition(b"\r\n")
        assert line_end, f"no chunk begins like {stream[:32]!r}"
        assert size_line and not size_line.strip(b"0123456789abcdefABCDEF"), f"no chunk size: {size_line!r}"
        size = int(size_line, 16)
        assert size, "a chunk of no bytes ends the body"
        assert rest[size : size + 2] == b"\r\n", f"no line end after the {size} bytes of a chunk"
        contents.append(rest[:size])
        stream = rest[size + 2 :]
    return contents
