"""Whether a server can do what is asked of it, and what to say to its operator when it can't.

By its `INFO`, which needs no more rights than the rest; `CONFIG` is closed on many a managed Redis. What is not told
is not judged: servers that only speak the protocol leave things out.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping

OLDEST = (6, 2)
"""Exclusive ranges of streams, and `CLIENT LIST ID`, came with it."""

CLOSED = "the server closed the connection"
NOT_REDIS = "not the Redis protocol"
OLDEST_CLUSTER = (7, 0)
"""Sharded pub/sub came with it."""

RULES = "docs/redis.md lists the rights that the gateway needs"


class Unfit(OSError):
    """A server that was reached, and is not one to work with. The text says why, and what to do."""


def examined(info: Mapping[str, object], *, cluster: bool = False) -> list[str]:
    """What the operator should know; raises `Unfit` for a server that cannot be worked with."""
    name, version = _version(info)
    mode = info.get("redis_mode")
    if mode == "sentinel":
        raise Unfit("this is a sentinel, not the server it watches: GATEWAY_BROKER_URL must be redis+sentinel://…")
    is_node = mode == "cluster" or info.get("cluster_enabled") == 1
    if is_node and not cluster:
        raise Unfit("this is a node of a Redis Cluster: GATEWAY_BROKER_URL must be redis+cluster://…")
    if cluster and mode is not None and not is_node:
        raise Unfit("this is no node of a Redis Cluster: GATEWAY_BROKER_URL must be redis://…")
    oldest, what = (
        (OLDEST_CLUSTER, "7.0 is the oldest Redis whose Cluster")
        if cluster
        else (OLDEST, "6.2 is the oldest Redis that")
    )
    if version and version < oldest:
        raise Unfit(f"{name} is too old: {what} has the commands needed")
    if info.get("maxmemory") and (policy := info.get("maxmemory_policy", "noeviction")) != "noeviction":
        return [
            f"Redis throws histories away when its memory is full (maxmemory-policy {policy}), and clients are told "
            "gaps: set maxmemory-policy noeviction there"
        ]
    return []


def _version(info: Mapping[str, object]) -> tuple[str, tuple[int, int] | None]:
    """Valkey says which Redis it is compatible with, and that is what counts."""
    told = str(info.get("redis_version", ""))
    match = re.match(r"(\d+)\.(\d+)", told)
    return f"Redis {told}", (int(match[1]), int(match[2])) if match else None


_REFUSED = re.compile(r"(\[Errno \d+\]|Error \d+ connecting to \S+\.) Connect call failed \([^()]*\)\.?")
"""As asyncio says it, and as redis-py does."""


def explained(error: BaseException, *, tls: bool = False) -> str:
    """An error while connecting (over `tls`), with what to do about it where that is known."""
    text = str(error) or type(error).__name__
    match error:
        case TimeoutError() if tls:  # a server that does not speak it waits for the end of the line
            return "no answer (a port without TLS? Then the URL begins with redis://)"
        case TimeoutError():
            return "no answer"
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted ({error.verify_message}): GATEWAY_REDIS_CA_FILE names the CA"
        case ssl.SSLError() if "WRONG_VERSION" in text or "UNEXPECTED_EOF" in text:
            return f"it does not speak TLS there ({error.reason}): use its TLS port, or redis:// in the URL"
        case ssl.SSLError() if "CERTIFICATE_REQUIRED" in text or "HANDSHAKE_FAILURE" in text:
            return f"it wants a certificate ({error.reason}): GATEWAY_REDIS_CERT_FILE and GATEWAY_REDIS_KEY_FILE"
    if _REFUSED.fullmatch(text):
        return "nobody listens there (is Redis running, and is GATEWAY_BROKER_URL its address?)"
    if text == CLOSED or text.startswith(NOT_REDIS):
        return f"{text} (does it want TLS? Then the URL begins with rediss://)"
    if "WRONGPASS" in text or "NOAUTH" in text or "invalid password" in text or "without any password" in text:
        return f"{text} (the user and password are those of GATEWAY_BROKER_URL)"
    if "NOPERM" in text:
        return f"{text} ({RULES})"
    return text
