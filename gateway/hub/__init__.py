"""Connections and fan-out. Knows nothing of brokers, HTTP or Redis: it is given entries and sockets."""

from .connection import CloseReason, Connection, Guide, Send, Sink, State
from .frame import Frame, replayed
from .hub import Advance, Hub

__all__ = ["Advance", "CloseReason", "Connection", "Frame", "Guide", "Hub", "Send", "Sink", "State", "replayed"]
