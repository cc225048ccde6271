"""The console: pages for people, and what they ask. There only in development, or with GATEWAY_CONSOLE_KEY."""

from .board import Board
from .routes import routes

__all__ = ["Board", "routes"]
