"""The event catalogue: an optional file that names the event types there are, and what their data looks like.

Rule: what is wrong with the file is said at the start, with the line; what is wrong with an event is said to its
publisher, with the path. Whoever only publishes or subscribes needs none of this, nor its libraries.
"""

from .load import load
from .model import Catalogue, CatalogueError, EventType

__all__ = ["Catalogue", "CatalogueError", "EventType", "load"]
