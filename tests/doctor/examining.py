"""An examination in the test's own process: what it found, by the name of the check."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping

from gateway.doctor.deployment import Deployment, Who
from gateway.doctor.examine import Examination
from gateway.doctor.report import Check, Outcome

EXAMINED_WITHIN = 60.0


async def examined(
    url: str,
    *,
    who: Who | None = None,
    key: str | None = None,
    internal: str | None = None,
    origin: str | None = None,
    connections: int = 4,
    idle: float = 0.1,
) -> Mapping[str, Check]:
    """Of several checks of a name the first that is not well."""
    run = secrets.token_hex(4)
    deployment = Deployment(url, who or Who(user=f"doctor-{run}"), run=run, key=key, internal=internal)
    examination = Examination(deployment, lambda check: None, origin=origin, connections=connections, idle=idle)
    async with asyncio.timeout(EXAMINED_WITHIN), deployment:
        await examination.run()
    found: dict[str, Check] = {}
    for check in sorted(examination.checks, key=lambda check: check.outcome is not Outcome.FINDING):
        found.setdefault(check.name, check)
    return found


def findings(found: Mapping[str, Check]) -> set[str]:
    return {name for name, check in found.items() if check.outcome is Outcome.FINDING}


def mends(check: Check) -> str:
    return "\n".join(check.mend)
