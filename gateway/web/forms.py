"""Which form `GET /v1/events` answers in: by `Accept`, and `format=`, since an EventSource cannot choose its headers.

Of what a client accepts equally well, the event stream goes before NDJSON, and that before JSON, which is a long poll;
a client that names none of them gets an event stream.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from aiohttp import hdrs, web

from ..encodings import EVENT_STREAM, EVENT_STREAM_OF_CLOUDEVENTS, LINES, LINES_OF_CLOUDEVENTS, Encoding
from ..errors import InvalidRequest
from .bodies import NDJSON

DEFAULT_WAIT = 25.0
"""Seconds, unless a client says how long it will wait. Many proxies lose patience after half a minute."""

CLOUDEVENTS = "cloudevents"

_SECONDS = re.compile(r"\d{1,6}(\.\d{1,3})?", re.ASCII)
_QUALITY = re.compile(r"[01](\.\d{0,3})?", re.ASCII)


class Form(NamedTuple):
    """`wait` is for how many seconds a long poll waits for something; None for a stream."""

    encoding: Encoding
    wait: float | None = None


def wanted(request: web.Request, longest_wait: float) -> Form:
    """Raises `InvalidRequest` for a `format` or a `wait` that cannot be."""
    kind = _kind(request.headers.get(hdrs.ACCEPT, ""))
    formats = request.query.getall("format", [])
    if any(format != CLOUDEVENTS for format in formats):
        raise InvalidRequest(f"must be {CLOUDEVENTS}, or left out", field="format")
    if kind == "json":
        wait = _wait(request.query.get("wait"), longest_wait)
        return Form(LINES_OF_CLOUDEVENTS if formats else LINES, wait)
    if "wait" in request.query:
        raise InvalidRequest("is for a long poll; ask for one with Accept: application/json", field="wait")
    if kind == "ndjson":
        return Form(LINES_OF_CLOUDEVENTS if formats else LINES)
    return Form(EVENT_STREAM_OF_CLOUDEVENTS if formats else EVENT_STREAM)


def _kind(accept: str) -> str:
    """`stream`, `ndjson` or `json` (RFC 9110, 12.5.1)."""
    if "json" not in (accept := accept.lower()):
        return "stream"  # so it is for nearly all, and they come by the thousand
    qualities: dict[str, float] = {}
    for part in accept.split(","):
        name, *parameters = (word.strip() for word in part.split(";"))
        quality = next((word[2:] for word in parameters if word.startswith("q=")), "1")
        if name in _KINDS and _QUALITY.fullmatch(quality):
            qualities[_KINDS[name]] = float(quality)
    best = max(qualities.values(), default=0)
    return next((kind for kind in ("stream", "ndjson", "json") if best and qualities.get(kind) == best), "stream")


_KINDS = {"text/event-stream": "stream", "application/json": "json"} | dict.fromkeys(NDJSON, "ndjson")


def _wait(given: str | None, longest: float) -> float:
    if given is None:
        return min(DEFAULT_WAIT, longest)
    if _SECONDS.fullmatch(given) is None or float(given) > longest:
        raise InvalidRequest(f"must be seconds, from 0 to {longest:g} (GATEWAY_MAX_POLL_SECONDS)", field="wait")
    return float(given)
