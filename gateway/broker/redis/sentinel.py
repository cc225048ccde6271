"""Who is master now, by those who decide it.

All sentinels are asked at once, each for 0.3 s, and of those that answer the one with the greatest configuration
epoch is believed: a sentinel that slept through a failover still names the old master, and one that hangs holds
nobody up. Own code, because redis-py asks one after the other and believes the first.
"""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from redis.exceptions import RedisError, ResponseError

from .connect import Address, Fixed, client
from .urls import Target

ANSWER_WITHIN = 0.3


class _Word(NamedTuple):
    epoch: int
    host: str
    port: int


class Elected:
    """The route to the master of a service that sentinels watch."""

    elected = True

    def __init__(self, target: Target) -> None:
        self._target = target

    async def find(self) -> Address:
        target = self._target
        answers = await asyncio.gather(*(self._ask(*host) for host in target.hosts), return_exceptions=True)
        words = [answer for answer in answers if isinstance(answer, _Word)]
        if words:
            _, host, port = max(words)
            return Address(host, port, login=target.login, db=target.db, tls=target.tls)
        said = (f"{host}:{port}: {_reason(a)}" for (host, port), a in zip(target.hosts, answers, strict=True))
        raise OSError(f"no sentinel names a master of {target.service!r} ({'; '.join(said)})")

    def doubt(self) -> None:
        pass  # they are asked each time

    async def _ask(self, host: str, port: int) -> _Word:
        target = self._target
        at = Address(host, port, login=target.sentinel_login, tls=target.tls)
        async with asyncio.timeout(ANSWER_WITHIN), client(Fixed(at), timeout=ANSWER_WITHIN) as sentinel:
            said: Any = await sentinel.execute_command("SENTINEL GET-MASTER-ADDR-BY-NAME", target.service)  # type: ignore[no-untyped-call]
            if not said:
                raise ResponseError("it knows no service of this name: is it the one in GATEWAY_BROKER_URL?")
            state: Any = await sentinel.execute_command("SENTINEL MASTER", target.service)  # type: ignore[no-untyped-call]
        return _Word(int(state["config-epoch"]), said[0].decode(), int(said[1]))


def _reason(answer: object) -> str:
    if isinstance(answer, TimeoutError):
        return f"no answer within {ANSWER_WITHIN} s"
    return str(answer) if isinstance(answer, RedisError | OSError) else repr(answer)
