"""Room for open files: each stream is one."""

from __future__ import annotations

import resource

from .plan import CannotRun

BESIDES = 128
"""The publisher's connections, and what a process has open anyway."""


def make_room(connections: int) -> None:
    """Raise the soft limit as far as needed. Raises `CannotRun` when the hard one is in the way."""
    needed = connections + BESIDES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard == resource.RLIM_INFINITY or hard >= needed:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
            return
        except (OSError, ValueError):
            hard = soft
    raise CannotRun(
        f"{connections:,} connections need {needed:,} open files and the limit is {hard:,}: "
        f"raise it (`ulimit -n {needed}` as root, LimitNOFILE= of a unit), or give fewer --connections"
    )
