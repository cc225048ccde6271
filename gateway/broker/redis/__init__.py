"""`redis://`: the broker that processes share. Three Lua scripts, one pub/sub connection, one command client."""

from .broker import RedisBroker

__all__ = ["RedisBroker"]
