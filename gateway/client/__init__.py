"""What a program imports to publish events to users' browsers and apps, and to read a stream itself.

Rule: importing this costs neither aiohttp nor redis; the transport that is chosen brings what it needs. And
publishing never breaks its caller: see `gateway.client.failopen`.
"""

from ..errors import GatewayError, InvalidEvent, InvalidRequest, NoGateway, NotAllowed, NotAuthenticated
from ..event_stream import Event
from ..events import SSEEvent
from ..publisher import SSEPublisherProtocol
from .choose import get_sse_publisher
from .failopen import FailOpenPublisher
from .handler import Broadcast, SSEEventHandler
from .subscriber import Gap, State, Subscription, subscribe

__all__ = [
    "Broadcast",
    "Event",
    "FailOpenPublisher",
    "Gap",
    "GatewayError",
    "InvalidEvent",
    "InvalidRequest",
    "NoGateway",
    "NotAllowed",
    "NotAuthenticated",
    "SSEEvent",
    "SSEEventHandler",
    "SSEPublisherProtocol",
    "State",
    "Subscription",
    "get_sse_publisher",
    "subscribe",
]
