"""Bytes -> events, by the WHATWG rules alone: HTML, 9.2.5 (parsing) and 9.2.6 (interpreting).

It shares nothing with `frames.py`: the tests read with it what the gateway writes, so that this is judged by the
standard and not by itself. Like a browser it takes bytes however they are cut, and what does not end in an empty line
is never seen. Unlike a browser it keeps some of what it had to ignore (a writer that keeps to the standard leaves
`ignored` empty), and gives up on an event that does not end.
"""

from __future__ import annotations

import codecs
import json
import re
from dataclasses import dataclass
from typing import Any

_LINE_END = re.compile(r"\r\n|\r|\n")

LONGEST = 16 * 2**20
"""Characters of one event, by default."""
KEPT_IGNORED = 20
MOST_DIGITS = 15
"""Of a retry time, some 30,000 years: Python makes no integer of thousands of digits."""


class Endless(ValueError):
    """An event is longer than a reader takes."""


@dataclass(frozen=True, slots=True)
class Event:
    """What an EventSource hands to its page.

    type           the `event` field, "message" without one
    data           the `data` lines, joined by line feeds
    last_event_id  where to resume after this event: its own id, or the one before it in the stream
    id             its own id; None when it has none, and cannot be replayed
    """

    type: str
    data: str
    last_event_id: str = ""
    id: str | None = None

    def json(self) -> Any:
        """The decoded data. Raises `ValueError` for what is not JSON; of a gateway's events it always is."""
        return json.loads(self.data)


class EventStreamParser:
    """`feed` it bytes, and it returns the events that they complete.

    retry          the reconnection time in ms, None until one was given
    last_event_id  what the client would send as `Last-Event-ID` if the stream ended now
    first_id       the first id that took effect in this stream: with a gateway, where it begins
    comments       how many comment lines there were
    ignored        the first lines that mean nothing: unknown fields, a malformed retry, an id with NUL
    at_a_boundary  whether what was fed ended with a block: of what comes next nothing has been seen
    """

    def __init__(self, *, last_event_id: str = "", longest: int = LONGEST) -> None:
        self.retry: int | None = None
        self.last_event_id = last_event_id
        self.first_id = ""
        self.comments = 0
        self.ignored: list[str] = []
        self.at_a_boundary = True
        self._longest = longest
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._at_start = True
        self._after_cr = False
        self._type = ""
        self._data: list[str] = []
        self._sticky_id = last_event_id
        self._id: str | None = None
        self._data_size = 0
        self._line: list[str] = []
        """The pieces of a line that has not ended."""
        self._line_size = 0

    def feed(self, data: bytes) -> list[Event]:
        """The events whose last byte is in `data`, in order. Raises `Endless`, and is of no use any more then."""
        events = []
        text = self._decoder.decode(data)
        if data:
            self.at_a_boundary = text.endswith("\n\n")
        for line in self._lines(text):
            if line:
                self._interpret(line)
            elif (event := self._dispatch()) is not None:
                events.append(event)
        return events

    def _lines(self, text: str) -> list[str]:
        """The lines that `text` ends. A CR ends one at once; an LF that follows it belongs to it."""
        if not text:
            return []
        if self._at_start:
            self._at_start = False
            text = text.removeprefix("\ufeff")
        if self._after_cr:
            text = text.removeprefix("\n")
        self._after_cr = text.endswith("\r")
        lines = _LINE_END.split(text) if "\r" in text else text.split("\n")
        return self._joined(lines)

    def _joined(self, lines: list[str]) -> list[str]:
        """The first is the end of an earlier one, perhaps; the last has not ended."""
        last = lines.pop()
        if lines:
            if self._line:
                lines[0] = "".join((*self._line, lines[0]))
                self._line.clear()
            self._line_size = 0
        if last:
            self._line.append(last)
            self._line_size += len(last)
            self._check(self._line_size)
        return lines

    def _interpret(self, line: str) -> None:
        if line.startswith(":"):
            self.comments += 1
            return
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            self._data.append(value)
            self._data_size += len(value) + 1
            self._check(self._data_size)
        elif field == "event":
            self._type = value
        elif field == "id" and "\0" not in value:
            self._id = self._sticky_id = value
        elif field == "retry" and value.isascii() and value.isdigit():
            self.retry = int(value.lstrip("0")[:MOST_DIGITS] or "0")
        elif len(self.ignored) < KEPT_IGNORED:
            self.ignored.append(line)

    def _dispatch(self) -> Event | None:
        self.last_event_id = self._sticky_id
        self.first_id = self.first_id or self._id or ""
        type, data, id = self._type, self._data, self._id
        self._type, self._data, self._id, self._data_size = "", [], None, 0
        if not data:
            return None
        return Event(type or "message", "\n".join(data), self.last_event_id, id)

    def _check(self, characters: int) -> None:
        if characters > self._longest:
            raise Endless(f"an event of more than {self._longest:,} characters")
