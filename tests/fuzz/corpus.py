"""The inputs that are kept: a folder for each target, a file for each input, under any name."""

from __future__ import annotations

from pathlib import Path

from hypothesis import strategies as st

CORPUS = Path(__file__).with_name("corpus")

_PIECES = [
    b"\n", b"\r", b"\r\n", b"\0", b"\xff", b"\xe2\x80\xa8", b"\xed\xa0\x80", b"\\ud800", b'"', b"{", b"}", b"[", b"]",
    b",", b":", b"..", b"%00", b"%2f", b"*", b".*", b"-", b"0", b"9" * 20, b"1e999", b"NaN", b"null", b"true",
    b"gateway.", b"id: 9-9\n", b"data: forged\n\n", b"@", b"/", b"?", b"#", b"=", b"&", b" ", b"user:", b"earliest",
]  # fmt: skip


def inputs(name: str) -> list[bytes]:
    return [file.read_bytes() for file in sorted((CORPUS / name).iterdir())]


@st.composite
def alike(draw: st.DrawFn, kept: list[bytes]) -> bytes:
    """One of those that are kept, changed in some places; or anything."""
    data = draw(st.sampled_from([*kept, b""]))
    for _ in range(draw(st.integers(0, 5))):
        at = draw(st.integers(0, len(data)))
        to = draw(st.integers(at, min(len(data), at + 8)))
        piece = draw(st.sampled_from(_PIECES) | st.binary(max_size=4) | st.sampled_from(kept or [b""]))
        data = data[:at] + piece + data[to:]
    return data
