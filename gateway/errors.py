"""The exception tree. Each error knows its HTTP status; one place (`gateway.web.problems`) renders them.

GatewayError
├── InvalidEvent        400  a field of an event is missing, unknown or malformed
├── InvalidRequest      400  a query, header or body that is not an event
│   ├── TooSlow         408
│   ├── TooLarge        413
│   ├── UrlTooLong      414
│   ├── UnsupportedType 415
│   └── HeadTooLarge    431
├── NotAuthenticated    401
├── NotAllowed          403
│   └── KeptAway        403
├── Conflict            409
├── RateLimited         429  carries `retry_after`
├── BrokerUnavailable   503  carries `retry_after`
│   └── Overloaded      503  carries `retry_after`
├── NoGateway           502  what a client found at an address
├── KeysUnavailable     503  carries `retry_after`
└── AtCapacity          503  carries `retry_after`
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType


class GatewayError(Exception):
    """Base of everything this package raises on purpose.

    `detail` is for the caller to read, `field` the path of the offending field (`data.items[3].id`),
    `retry_after` seconds after which the same request may succeed. `reason` is the word that it is counted under, where
    that is closer than its kind: of a limit, the setting.
    """

    status = 500
    slug = "internal"
    title = "Internal error"

    def __init__(
        self, detail: str = "", *, field: str | None = None, retry_after: float | None = None, reason: str = ""
    ) -> None:
        super().__init__(f"{field}: {detail}" if field else detail or self.title)
        self.detail = detail
        self.field = field
        self.retry_after = retry_after
        self.reason = reason or self.slug.replace("-", "_")


class InvalidEvent(GatewayError, ValueError):
    """A field of an event is missing, unknown or malformed. `field` names it."""

    status = 400
    slug = "invalid-event"
    title = "The event is not valid"

    @classmethod
    def at(cls, index: int, error: InvalidEvent) -> InvalidEvent:
        """`error`, as it is reported for item `index` (from 0) of a batch."""
        path = f"[{index}].{error.field}" if error.field else f"[{index}]"
        return cls(error.detail, field=path)


class InvalidRequest(GatewayError):
    """A query, header or body that cannot be read."""

    status = 400
    slug = "invalid-request"
    title = "The request is not valid"


class TooSlow(InvalidRequest):
    """It was begun, and did not arrive whole in time; the detail names the limit."""

    status = 408
    slug = "request-timeout"
    title = "The request did not arrive in time"


class TooLarge(InvalidRequest):
    """A body, an event or a batch over its limit; the detail names the limit."""

    status = 413
    slug = "too-large"
    title = "The request is too large"


class UrlTooLong(InvalidRequest):
    """Over GATEWAY_MAX_URL_BYTES."""

    status = 414
    slug = "url-too-long"
    title = "The URL is too long"


class UnsupportedType(InvalidRequest):
    """A content type that this endpoint does not read."""

    status = 415
    slug = "unsupported-media-type"
    title = "The content type is not supported"


class HeadTooLarge(InvalidRequest):
    """A header, all of them, or their number over its limit; the detail names the limit."""

    status = 431
    slug = "head-too-large"
    title = "The request's headers are too large"


class NotAuthenticated(GatewayError):
    """No credential, or one that does not verify."""

    status = 401
    slug = "not-authenticated"
    title = "Authentication is required"

    def __init__(self, detail: str = "", *, reason: str = "missing", retry_after: float | None = None) -> None:
        super().__init__(detail, retry_after=retry_after, reason=reason)


class NotAllowed(GatewayError):
    """A credential that verifies but does not grant this."""

    status = 403
    slug = "not-allowed"
    title = "Not allowed"


class KeptAway(NotAllowed):
    """The user was told to stay away."""

    slug = "kept-away"
    title = "Kept away"


class Conflict(GatewayError):
    """The request contradicts one that was already answered."""

    status = 409
    slug = "conflict"
    title = "Conflict"


class RateLimited(GatewayError):
    """Too much at once; `retry_after` says when to come back, `headers` what else the answer should carry."""

    status = 429
    slug = "rate-limited"
    title = "Too many requests"

    def __init__(
        self,
        detail: str = "",
        *,
        field: str | None = None,
        retry_after: float | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(detail, field=field, retry_after=retry_after)
        self.headers = headers


class BrokerUnavailable(GatewayError):
    """The broker cannot take or give events now. Nothing is known to have been stored."""

    status = 503
    slug = "broker-unavailable"
    title = "The broker is unavailable"

    def __init__(self, detail: str = "", *, field: str | None = None, retry_after: float | None = 1.0) -> None:
        super().__init__(detail, field=field, retry_after=retry_after)


class Overloaded(BrokerUnavailable):
    """More is to be published than the broker takes. Nothing of it was stored."""

    slug = "overloaded"
    title = "Too much is waiting to be published"


class NoGateway(GatewayError):
    """What answers at an address is no gateway; only clients come upon it."""

    status = 502
    slug = "no-gateway"
    title = "No gateway answers there"


class KeysUnavailable(GatewayError):
    """The keys that tokens are verified with could not be fetched yet, so a token cannot be judged."""

    status = 503
    slug = "keys-unavailable"
    title = "Tokens cannot be verified now"


class AtCapacity(GatewayError):
    """No room for another stream; the same request may succeed later, or on another process."""

    status = 503
    slug = "at-capacity"
    title = "No room for another stream"
