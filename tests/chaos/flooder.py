"""A flood of newcomers from one address, as a program: so that what it costs itself delays nobody who is measured.

python -m chaos.flooder PORT RATE, with the secret of tokens as the first line of its input. It comes until its input
ends, and prints what it was answered, and how often, as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
import time
from collections import Counter

import jwt
from servers import HOST

FLOODER = "127.0.0.66"
"""All of 127.0.0.0/8 is this machine, so a flood can come from one address and the others from another."""

ANSWERED_WITHIN = 10.0


async def flood(port: int, rate: float, secret: str, ended: asyncio.Future[None]) -> Counter[str]:
    answers: Counter[str] = Counter()
    loop, tasks = asyncio.get_running_loop(), set[asyncio.Task[None]]()
    began, number = loop.time(), 0
    while not ended.done():
        task = asyncio.create_task(knock(port, f"flooder{number}", secret, answers))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        number += 1
        await asyncio.sleep(began + number / rate - loop.time())
    await asyncio.gather(*tasks)
    return answers


async def knock(port: int, user: str, secret: str, answers: Counter[str]) -> None:
    """Ask for a stream, half of the time with a token that was never signed, and leave with the answer's head."""
    claims = {"sub": user, "exp": time.time() + 3600}
    token = jwt.encode(claims, secret, algorithm="HS256") if random.random() < 0.5 else "no.token.this"
    head = b""
    with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
        async with asyncio.timeout(ANSWERED_WITHIN):
            reader, writer = await asyncio.open_connection(HOST, port, local_addr=(FLOODER, 0))
            try:
                headers = f"Host: x\r\nAccept: text/event-stream\r\nAuthorization: Bearer {token}"
                writer.write(f"GET /v1/events HTTP/1.1\r\n{headers}\r\n\r\n".encode())
                head = await reader.readuntil(b"\r\n\r\n")
            finally:
                writer.transport.abort()
    answers[_kind(head)] += 1


def _kind(head: bytes) -> str:
    """A stream says how often its heart beats; a refusal that an EventSource understands has no heart."""
    status = head[9:12].decode() or "nothing"
    return "come back" if status == "200" and b"Heartbeat-Interval: " not in head else status


async def main(port: int, rate: float) -> None:
    secret = sys.stdin.readline().strip()
    ended = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().add_reader(sys.stdin, ended.cancel)
    print(json.dumps(await flood(port, rate, secret, ended)))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
