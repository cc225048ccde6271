"""A request's body -> decoded JSON items.

msgspec reads what is right six times as fast as the standard library, but tells less of what is wrong, and takes a
little less (NaN, lone surrogates, numbers beyond any float). So what it does not take is read again by `json`, which
decides, and explains.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import msgspec
from aiohttp import web

from ..errors import InvalidRequest, TooLarge, UnsupportedType

CODINGS = ("gzip", "deflate", "identity")
NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl")

_decode = msgspec.json.Decoder().decode


async def items(request: web.Request, most: int) -> tuple[list[object], bool]:
    """The decoded items of a body, at most so many, and whether they came as a batch."""
    content_type = request.content_type
    if content_type == "application/json":
        body = _json(await _body(request))
        if not isinstance(body, list):
            return [body], False
        found = body
    elif content_type in NDJSON:
        lines = [line for line in _utf8(await _body(request)).split("\n") if line.strip()]
        found = [_json(line, f"[{index}]") for index, line in enumerate(lines)]
    else:
        raise UnsupportedType(
            f"{content_type} is not read here; send application/json (an event, or an array of events) "
            "or application/x-ndjson (an event a line)"
        )
    if not found:
        raise InvalidRequest("the batch is empty")
    if len(found) > most:
        raise TooLarge(f"the batch has {len(found)} events; at most {most} (GATEWAY_MAX_BATCH_EVENTS) are taken")
    return found, True


async def _body(request: web.Request) -> bytes:
    _check_codings(request.headers)
    content = request.content
    try:
        if content.is_eof() and content.total_bytes <= request.client_max_size:
            return content.read_nowait()  # all of it is there, as mostly
        return await request.read()
    except web.RequestPayloadError:
        raise InvalidRequest("the body cannot be read: it is cut off, or not in its Content-Encoding") from None


def _check_codings(headers: Mapping[str, str]) -> None:
    """aiohttp reads a body in codings that it does not know as if there were none; a proxy may have known better."""
    if "Transfer-Encoding" in headers and headers["Transfer-Encoding"].strip().lower() != "chunked":
        raise InvalidRequest("only chunked is read here", field="Transfer-Encoding")
    if "Content-Encoding" in headers and headers["Content-Encoding"].strip().lower() not in CODINGS:
        raise UnsupportedType(f"must be one of {', '.join(CODINGS)}", field="Content-Encoding")


def _json(body: bytes | str, field: str | None = None) -> object:
    try:
        return _decode(body)
    except Exception:
        return _json_or_why(body if isinstance(body, str) else _utf8(body), field)


def _json_or_why(text: str, field: str | None) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise InvalidRequest(f"not JSON: {error.msg} ({where})", field=field) from None
    except RecursionError:
        raise InvalidRequest("the JSON is nested too deeply", field=field) from None
    except ValueError as error:  # a number of thousands of digits
        raise InvalidRequest(f"not JSON: {error}", field=field) from None


def _utf8(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"the body is not UTF-8 (byte {error.start})") from None
