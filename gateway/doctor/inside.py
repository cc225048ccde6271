"""What the gateway says of itself, and what our own token and key are good for."""

from __future__ import annotations

import json
import time

import aiohttp

from ..client.http import in_words
from ..errors import BrokerUnavailable, GatewayError, NotAllowed, NotAuthenticated
from . import mend
from .deployment import Deployment
from .report import CannotExamine, Check, finding, hint, ok, skipped

ASKED_WITHIN = 5.0
SHORT_LIVED = 120.0
"""Seconds: a token that lives for less makes its clients come back all the time."""


async def health(deployment: Deployment) -> list[Check]:
    """Raises `CannotExamine` when the internal address cannot be reached."""
    checks = [await _readiness(deployment)]
    status, body = await _get(deployment, deployment.base, "/metrics")
    if status == 200 and b"gateway_" in body and deployment.url.scheme == "https":
        checks.append(hint("metrics", "everybody can read /metrics, and ask for what publishers ask", *mend.METRICS))
    return checks


async def _readiness(deployment: Deployment) -> Check:
    where = deployment.internal or deployment.base
    status, body = await _get(deployment, where, "/readyz")
    if status is None and deployment.internal is not None:
        raise CannotExamine(f"--internal {where}: {body.decode()}; is it the address of publishers and operators?")
    if status is None:
        raise CannotExamine(f"{where}: {body.decode()}; is it the address and port of a gateway, or of its proxy?")
    try:
        said = json.loads(body)
        reasons = [str(reason) for reason in said.get("reasons", [])]
    except (ValueError, AttributeError):
        said, reasons = None, []
    if said is not None and status == 200:
        return ok("health", "the process that answered is ready")
    if said is not None and status == 503 and reasons:
        return finding("health", f"/readyz says {'; '.join(reasons)}", *_by_reason(reasons))
    if deployment.internal is None:
        return skipped("health", f"/readyz is not served here ({status}), as it should be; --internal URL looks at it")
    return finding("health", f"{where}/readyz answers {status}", "--internal is the gateway's own address and port")


def _by_reason(reasons: list[str]) -> tuple[str, ...]:
    told = " ".join(reasons)
    lines = []
    if "broker" in told:
        lines.append("is Redis running where GATEWAY_BROKER_URL points? The gateway comes back to it by itself")
    if "jwks" in told:
        lines.append("does GATEWAY_JWT_JWKS_URL answer? Without its keys no token can be verified")
    if "draining" in told:
        lines.append("the process is about to end: look again when it was exchanged")
    return tuple(lines)


async def _get(deployment: Deployment, base: str, path: str) -> tuple[int | None, bytes]:
    """Status and the start of the body; None and why, when there was no answer."""
    timeout = aiohttp.ClientTimeout(total=ASKED_WITHIN)
    try:
        async with deployment.session.get(base + path, timeout=timeout, allow_redirects=False) as answer:
            return answer.status, await answer.content.read(65_536)
    except TimeoutError:
        return None, f"no answer within {ASKED_WITHIN:g} s".encode()
    except (aiohttp.ClientError, OSError) as error:
        return None, in_words(error).encode()


def token(deployment: Deployment, needed: float) -> Check:
    """`needed` is how many seconds the examination takes. Raises `CannotExamine` for a token that has expired."""
    claims = deployment.who.claims
    if deployment.who.token is None:
        return ok("token", "none: development mode")
    ends, begun = _moment(claims.get("exp")), _moment(claims.get("iat"))
    if ends is None:
        return finding("token", "the token has no exp, and no gateway takes it", "issue tokens with exp and sub")
    left = ends - time.time()
    if left <= 0:
        raise CannotExamine(
            f"the token expired {_span(-left)} ago; get a new one (`gateway token --user 42` makes one)"
        )
    if begun is not None and ends - begun < SHORT_LIVED:
        return finding("token", f"the token lives for {_span(ends - begun)} in all", *mend.LIFETIME)
    if left < needed:
        says = f"the token ends in {_span(left)}, before this is done ({_span(needed)})"
        return hint("token", says, "take a fresh one, or a shorter --idle")
    return ok("token", f"good for {_span(left)}")


def _moment(claim: object) -> float | None:
    return float(claim) if isinstance(claim, int | float) else None


def _span(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


async def publishing(deployment: Deployment) -> Check:
    """Whether we can publish to our own channel: one probe is tried."""
    try:
        await deployment.publish(-1)
    except GatewayError as error:
        return _not_published(deployment, error)
    return ok("publish", f"to {deployment.channel}")


def _not_published(deployment: Deployment, error: GatewayError) -> Check:
    where, why = deployment.internal or deployment.base, f"{error.status} {error}"
    by_the_gateway = not (error.detail or "").startswith("HTTP ")
    if deployment.internal is None and not by_the_gateway and not isinstance(error, BrokerUnavailable):
        return skipped("publish", f"not through {where} ({error}), as it should be; give --internal URL")
    if isinstance(error, NotAuthenticated) and not deployment.has_key:
        return skipped("publish", "give --publish-key, and delivery is looked at")
    lines: tuple[str, ...] = ()
    if isinstance(error, NotAuthenticated):
        lines = ("take a key of the gateway's GATEWAY_PUBLISH_KEYS, or GATEWAY_PUBLISH_KEYS_FILE",)
    elif isinstance(error, NotAllowed):
        lines = (f"a key with the scope topic:doctor.* (or {deployment.channel}) in GATEWAY_PUBLISH_KEYS",)
    elif isinstance(error, BrokerUnavailable):
        lines = ("is Redis running where GATEWAY_BROKER_URL points? /readyz says more",)
    return finding("publish", f"{where}: {why}", *lines)
