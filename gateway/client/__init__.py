"""What a backend service imports to publish events to its users' browsers and apps.

Rule: importing this costs neither aiohttp nor redis; the transport that is chosen brings what it needs. And
publishing never breaks its caller: see `gateway.client.failopen`.
"""

from ..errors import InvalidEvent
from ..events import SSEEvent
from ..publisher import SSEPublisherProtocol
from .choose import get_sse_publisher
from .failopen import FailOpenPublisher
from .handler import Broadcast, SSEEventHandler

__all__ = [
    "Broadcast",
    "FailOpenPublisher",
    "InvalidEvent",
    "SSEEvent",
    "SSEEventHandler",
    "SSEPublisherProtocol",
    "get_sse_publisher",
]
