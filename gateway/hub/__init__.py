"""Connections and fan-out. Knows nothing of brokers, HTTP or Redis: it is given entries and sockets."""

from .connection import Cause, CloseReason, Connection, Guide, Send, Sink, State
from .frame import Frame, replayed
from .hub import Advance, Hub
from .leg import Leg, Legs

__all__ = [
    "Advance",
    "Cause",
    "CloseReason",
    "Connection",
    "Frame",
    "Guide",
    "Hub",
    "Leg",
    "Legs",
    "Send",
    "Sink",
    "State",
    "replayed",
]
