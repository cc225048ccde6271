"""Whether streams open, and how soon their first bytes are here; a proxy that waits for more shows here first."""

from __future__ import annotations

from collections.abc import Sequence

from ..client.subscriber.endings import Unavailable
from ..errors import GatewayError, KeptAway, NoGateway, NotAllowed, NotAuthenticated
from .deployment import Deployment, all_settled, settled
from .report import CannotExamine, Check, finding, hint, ok
from .watch import Watch

OPENS_WITHIN = 3.0
"""Seconds. A gateway that cannot ask its broker answers after two."""
PADDED_WITHIN = 4.0
SLOW = 1.0


async def wait(deployment: Deployment, watches: Sequence[Watch], *, can_publish: bool) -> list[Watch]:
    """Until all have begun, with a push if need be. Those that needed the push: what they hold is held back.

    Raises `CannotExamine` when there is no stream.
    """
    held: list[Watch] = []
    if not await settled(lambda: all_settled(watches), OPENS_WITHIN):
        held = [watch for watch in watches if not watch.is_settled]
        if can_publish:
            await deployment.pad()
        await settled(lambda: all_settled(watches), PADDED_WITHIN)
    if not any(_is_open(watch) for watch in watches):
        raise CannotExamine(_why_none(deployment, watches))
    return held


def _is_open(watch: Watch) -> bool:
    return watch.opened_at is not None and watch.end is None


def check(watches: Sequence[Watch], held: Sequence[Watch]) -> Check:
    """What the others say of it is told apart: streams that wait in a proxy's buffer are `buffering`."""
    refused = [watch for watch in watches if watch.refused is not None]
    if refused:
        why = str(refused[0].refused)
        lines = ("raise GATEWAY_MAX_CONNECTIONS_PER_USER, or give fewer --connections",) if "PER_USER" in why else ()
        return finding("opening", f"{len(refused)} of {len(watches)} streams were refused: {why}", *lines)
    turned_away = [watch for watch in watches if watch.end is not None and not watch.cursor]
    if turned_away:
        says = f"{len(turned_away)} of {len(watches)} streams were only told when to retry"
        return finding("opening", says, "is a gateway down, full or draining behind the proxy? Its /readyz says which")
    prompt = [watch for watch in watches if watch not in held]
    if not prompt:
        return hint("opening", f"no stream opened by itself within {OPENS_WITHIN:g} s; see buffering")
    first = max((watch.first_byte_at or 0.0) - watch.asked_at for watch in prompt)
    if first > SLOW:
        says = f"the first bytes of a stream came after {first:.1f} s"
        return hint("opening", says, "two seconds are what a gateway waits for a broker that is away: ask /readyz")
    return ok("opening", f"{len(watches)} at once; the first bytes of each within {1000 * first:.0f} ms")


def _why_none(deployment: Deployment, watches: Sequence[Watch]) -> str:
    base = deployment.base
    errors = [watch.refused for watch in watches if watch.refused is not None]
    if errors:
        return f"{base}: {_refusal(errors[0])}"
    if any(watch.end is not None for watch in watches):
        return (
            f"{base}: streams are only told when to retry: the proxy finds no gateway, or the gateways are full or "
            "draining; are they running, and do they listen where the proxy looks for them?"
        )
    return (
        f"{base}: no answer to a stream's request within {OPENS_WITHIN + PADDED_WITHIN:g} s; a proxy may wait for the "
        "answer's end (proxy_buffering off; helps), or what is behind it hangs"
    )


def _refusal(error: GatewayError | Unavailable) -> str:
    match error:
        case NotAuthenticated():
            return f"401 {error}; give --token (`gateway token --user 42` makes one), or --user in development mode"
        case KeptAway():
            return f"{error}; DELETE /v1/users/…/connections?for=0 lets the user in again"
        case NotAllowed():
            return f"403 {error}; take another token"
        case NoGateway():
            return str(error)
        case GatewayError():
            return f"{error.status} {error}"
    return str(error)
