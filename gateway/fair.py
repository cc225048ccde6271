"""An event loop in which live events go first.

asyncio's own selector hands over everything that is ready at once. When 10,000 clients drop their connections, and
come back, that is one turn of the loop of seconds, and a publish waits for its end. Here a turn serves at most so
many sockets; of these, the listening socket and the streams of clients (which say nothing but goodbye) are put
last, so that what carries events, to Redis and from publishers, waits for a few of them instead of for all.

Measured with `bench/workloads.py storm`; without epoll (macOS) it is asyncio's own loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import select
import selectors
from collections.abc import Mapping
from typing import Any

FIRST_PER_TURN = 64
LAST_PER_TURN = 16


class FairSelector(selectors.BaseSelector):
    """Two epolls, one in the other: the inner one has those that were put last."""

    def __init__(self) -> None:
        self._first, self._last = select.epoll(), select.epoll()
        self._first.register(self._last.fileno(), select.EPOLLIN)
        self._keys: dict[Any, selectors.SelectorKey] = {}
        self._put_last: set[int] = set()

    def put_last(self, fileobj: Any) -> None:
        """From now on until it is unregistered; it may have been registered already."""
        descriptor = _descriptor(fileobj)
        if descriptor in self._put_last:
            return
        self._put_last.add(descriptor)
        if (key := self._keys.get(descriptor)) is not None:
            self._first.unregister(descriptor)
            self._last.register(descriptor, _mask(key.events))

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = selectors.SelectorKey(fileobj, _descriptor(fileobj), events, data)
        if key.fd in self._keys:
            raise KeyError(f"{fileobj!r} (descriptor {key.fd}) is already registered")
        self._epoll_of(key.fd).register(key.fd, _mask(events))
        self._keys[key.fd] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        key = self._keys.pop(_descriptor(fileobj))
        with contextlib.suppress(OSError):  # closed before: the kernel has forgotten it already
            self._epoll_of(key.fd).unregister(key.fd)
        self._put_last.discard(key.fd)
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        old = self._keys[_descriptor(fileobj)]
        if events != old.events:
            self._epoll_of(old.fd).modify(old.fd, _mask(events))
        key = self._keys[old.fd] = old._replace(events=events, data=data)
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        seconds = -1 if timeout is None else math.ceil(max(timeout, 0) * 1e3) * 1e-3  # never early, as in selectors
        ready = self._first.poll(seconds, FIRST_PER_TURN)
        if any(descriptor == self._last.fileno() for descriptor, _ in ready):
            ready += self._last.poll(0, LAST_PER_TURN)
        return [
            (key, _events(mask) & key.events)
            for descriptor, mask in ready
            if (key := self._keys.get(descriptor)) is not None
        ]

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys[_descriptor(fileobj)]

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys

    def close(self) -> None:
        self._first.close()
        self._last.close()
        self._keys.clear()

    def _epoll_of(self, descriptor: int) -> Any:
        return self._last if descriptor in self._put_last else self._first


class FairLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.selector = FairSelector()
        super().__init__(self.selector)


def new_event_loop() -> asyncio.AbstractEventLoop:
    return FairLoop() if hasattr(select, "epoll") else asyncio.new_event_loop()


def put_last(fileobj: Any) -> None:
    """On the running loop, where it is a fair one."""
    loop = asyncio.get_running_loop()
    if isinstance(loop, FairLoop):
        loop.selector.put_last(fileobj)


def _descriptor(fileobj: Any) -> int:
    descriptor: int = fileobj if isinstance(fileobj, int) else fileobj.fileno()
    return descriptor


def _mask(events: int) -> int:
    reading = select.EPOLLIN if events & selectors.EVENT_READ else 0
    return reading | (select.EPOLLOUT if events & selectors.EVENT_WRITE else 0)


def _events(mask: int) -> int:
    """An error or a hang-up is for whoever reads or writes to find out."""
    reading = selectors.EVENT_READ if mask & ~select.EPOLLOUT else 0
    return reading | (selectors.EVENT_WRITE if mask & ~select.EPOLLIN else 0)
