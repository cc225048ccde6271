"""What the answer to a request for a stream says: its headers, its clock, its coding, its rights for web pages."""

from __future__ import annotations

import email.utils
from collections.abc import Mapping

import aiohttp

from . import mend
from .deployment import Deployment
from .report import Check, finding, hint, ok, skipped
from .watch import Watch, time_of

SKEW = 5.0
"""Seconds by which a clock may be wrong: so much is allowed where tokens are judged."""


def headers(watch: Watch) -> list[Check]:
    """Of a stream that is open."""
    found, checks = watch.response.headers, []
    control = found.get("Cache-Control", "")
    if not ("no-store" in control or "no-cache" in control):
        said = f"Cache-Control is {control!r}" if control else "there is no Cache-Control"
        checks.append(
            finding("caching", f"{said}: what is between may keep a stream, and give it to others", *mend.CACHE)
        )
    if (served := _from_a_cache(found)) is not None:
        checks.append(finding("caching", f"the stream came from a cache ({served})", *mend.CACHE))
    if found.get("X-Accel-Buffering", "").lower() != "no":
        says = "X-Accel-Buffering: no does not get through: another nginx in front would hold events back"
        checks.append(finding("headers", says, *mend.ACCEL))
    version = watch.response.version
    if version is not None and version < aiohttp.HttpVersion11:
        checks.append(finding("headers", "the answer is HTTP/1.0: a cut stream looks like an ended one", *mend.VERSION))
    return checks or [ok("headers", "text/event-stream, not to be cached, not to be buffered")]


def _from_a_cache(found: Mapping[str, str]) -> str | None:
    if found.get("Age", "0") != "0":
        return f"Age: {found['Age']}"
    for name in ("X-Cache", "X-Cache-Status", "X-Proxy-Cache", "CF-Cache-Status"):
        if "HIT" in found.get(name, "").upper():
            return f"{name}: {found[name]}"
    return None


def coding(watch: Watch) -> Check:
    """Of a stream that was asked for as browsers do, who take gzip."""
    if (used := watch.response.headers.get("Content-Encoding", "identity")) == "identity":
        return ok("gzip", "not compressed, though we would take it")
    return finding("gzip", f"the stream is compressed ({used}), and waits in the compressor's buffer", *mend.GZIP)


def clocks(watch: Watch, broker_ahead: float | None) -> Check:
    """Of what answered with this stream, and of the broker, if events were seen."""
    ahead: dict[str, float] = {}
    if (date := email.utils.parsedate_tz(watch.response.headers.get("Date", ""))) is not None:
        ahead["what answers (its Date)"] = _outside(email.utils.mktime_tz(date), watch)
    if broker_ahead is not None:
        ahead["the broker (its event ids)"] = broker_ahead
    if not ahead:
        return skipped("clocks", "neither a Date nor an event id was seen")
    wrong = {whose: by for whose, by in ahead.items() if abs(by) > SKEW}
    if not wrong:
        return ok("clocks", f"within {max(map(abs, ahead.values())):.1f} s of ours")
    told = ", ".join(f"{whose} is {abs(by):.0f} s {'ahead' if by > 0 else 'behind'}" for whose, by in wrong.items())
    return finding("clocks", f"by our clock {told}", *mend.CLOCK)


def _outside(date: float, watch: Watch) -> float:
    """Seconds between a Date, which says no more than the second, and the time in which it was written."""
    assert watch.opened_at is not None
    earliest, latest = time_of(watch.asked_at) - 1, time_of(watch.opened_at)
    return min(date - earliest, 0.0) or max(date - latest, 0.0)


async def cors(deployment: Deployment, origin: str | None) -> Check:
    """Whether a page of this origin may ask with a token, and read the answer."""
    if origin is None:
        return skipped("cors", "give --origin https://app.example.com, if pages of another site are to listen")
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization,last-event-id",
    }
    try:
        timeout = aiohttp.ClientTimeout(total=5)
        async with deployment.session.options(deployment.streams, headers=asked, timeout=timeout) as answer:
            status, said = answer.status, answer.headers
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return finding("cors", f"no answer to a preflight ({type(error).__name__})", *mend.cors(origin))
    if (wrong := _wrong_with_preflight(status, said, origin)) is not None:
        return finding("cors", f"pages of {origin} cannot listen: {wrong}", *mend.cors(origin))
    if said.get("Access-Control-Allow-Credentials") != "true":
        return hint("cors", f"pages of {origin} may listen with a token, and not with cookies", *mend.cors(origin))
    return ok("cors", f"pages of {origin} may listen, with a token or with cookies")


def _wrong_with_preflight(status: int, said: Mapping[str, str], origin: str) -> str | None:
    if not 200 <= status < 300:
        return f"the preflight is answered {status}"
    allowed = said.get("Access-Control-Allow-Origin")
    if allowed not in (origin, "*"):
        return f"Access-Control-Allow-Origin is {allowed!r}" if allowed else "there is no Access-Control-Allow-Origin"
    headers = said.get("Access-Control-Allow-Headers", "").lower()
    missing = [name for name in ("authorization", "last-event-id") if name not in headers]
    return f"Access-Control-Allow-Headers lacks {', '.join(missing)}" if missing else None
