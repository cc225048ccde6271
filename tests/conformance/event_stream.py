"""A reader of event streams, written from the standard alone: WHATWG HTML, 9.2.5 (parsing) and 9.2.6 (interpreting).

It shares nothing with the gateway, so that what the gateway writes is judged by the standard and not by itself.
Like a browser it takes bytes however they are cut, and what does not end in an empty line is never seen. Unlike a
browser it keeps what it had to ignore: a writer that keeps to the standard leaves `ignored` empty.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Event:
    """What an EventSource hands to its page."""

    type: str
    data: str
    last_event_id: str


class EventStreamParser:
    """`feed` it bytes, and it returns the events that they complete.

    retry          the reconnection time in ms, None until one was given
    last_event_id  what the client would send as `Last-Event-ID` if the stream ended now
    comments       how many comment lines there were
    ignored        the lines that mean nothing: unknown fields, a malformed retry, an id with NUL
    """

    def __init__(self) -> None:
        self.retry: int | None = None
        self.last_event_id = ""
        self.comments = 0
        self.ignored: list[str] = []
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._at_start = True
        self._after_cr = False
        self._unfinished = ""
        self._type = ""
        self._data = ""
        self._id = ""

    def feed(self, data: bytes) -> list[Event]:
        """The events whose last byte is in `data`, in order."""
        events = (self._interpret(line) for line in self._lines(self._decoder.decode(data)))
        return [event for event in events if event is not None]

    def _lines(self, text: str) -> list[str]:
        """The lines that `text` ends. A CR ends one at once; an LF that follows it belongs to it."""
        if not text:
            return []
        if self._at_start:
            self._at_start = False
            text = text.removeprefix("\ufeff")
        if self._after_cr and text:
            text = text.removeprefix("\n")
            self._after_cr = False
        if text.endswith("\r"):
            self._after_cr = True
        *lines, self._unfinished = _LINE_END.split(self._unfinished + text)
        return lines

    def _interpret(self, line: str) -> Event | None:
        if not line:
            return self._dispatch()
        if line.startswith(":"):
            self.comments += 1
            return None
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            self._type = value
        elif field == "data":
            self._data += value + "\n"
        elif field == "id" and "\0" not in value:
            self._id = value
        elif field == "retry" and value.isascii() and value.isdigit():
            self.retry = int(value)
        else:
            self.ignored.append(line)
        return None

    def _dispatch(self) -> Event | None:
        self.last_event_id = self._id
        type, data = self._type, self._data
        self._type = self._data = ""
        if not data:
            return None
        return Event(type or "message", data.removesuffix("\n"), self.last_event_id)
