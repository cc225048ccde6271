"""The transport port: how one event gets from a backend service to the gateway, once."""

from __future__ import annotations

from typing import Protocol

from ..events import SSEEvent


class Transport(Protocol):
    """One try. Time limits, second tries and failure counting belong to `FailOpenPublisher`.

    - `channel` is one of `gateway.channels`: `user:<id>`, `broadcast`, `topic:<name>`. It alone is the
      target; the event's own `user_id` is only content.
    - `send` returns when the event is taken. It may hang: its caller cancels it, and then it returns at
      once. Sent again with the same `idempotency_key`, an event is published once.
    - It raises `BrokerUnavailable` when it is not known whether the event was taken and another try may
      succeed; `retry_after` is set only when the other side asked for that pause. Any other `GatewayError`
      is the other side's answer that this event, sent by this publisher, will not be taken.
    - Connections are made on first use, in the running event loop, and never outlive it. `close` releases
      those of the running loop; a later `send` makes new ones.
    """

    async def send(self, channel: str, event: SSEEvent, idempotency_key: str) -> None: ...

    async def close(self) -> None: ...
