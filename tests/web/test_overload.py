"""Whether a process has as many streams as it may have: by its setting, or by its file descriptors."""

from __future__ import annotations

import resource

import pytest

from gateway.config import Settings
from gateway.hub import Connection, Hub
from gateway.web.overload import DESCRIPTORS_BESIDES, Overload


def with_streams(hub: Hub, count: int) -> None:
    """Exactly so many."""
    while len(hub.connections) < count:
        hub.join(Connection(["broadcast"]))
    while len(hub.connections) > count:
        hub.leave(next(iter(hub.connections)))


def limited(monkeypatch: pytest.MonkeyPatch, descriptors: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (descriptors, descriptors))


def test_it_is_full_at_its_limit_and_until_it_has_some_room() -> None:
    """On the border it does not go to and fro: 100 of 100 is full, and so it is down to 96."""
    hub = Hub()
    overload = Overload(lambda: len(hub.connections), Settings(dev=True, max_connections=100))
    told = []
    for count in (99, 100, 99, 96, 95, 99, 100):
        with_streams(hub, count)
        told.append(overload.now())
    assert told == [False, True, True, True, False, False, True]
    assert [reason.text for reason in overload.reasons()] == ["full: 100 of 100 streams (GATEWAY_MAX_CONNECTIONS)"]


def test_descriptors_are_a_limit_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a setting, or with one that is beyond what the system gives."""
    limited(monkeypatch, DESCRIPTORS_BESIDES + 3)
    hub = Hub()
    for most in (0, 10_000):
        overload = Overload(lambda: len(hub.connections), Settings(dev=True, max_connections=most))
        with_streams(hub, 2)
        assert not overload.now()
        with_streams(hub, 3)
        assert [reason.text for reason in overload.reasons()] == ["full: 3 of 3 streams (file descriptors: ulimit -n)"]


def test_the_lesser_limit_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a system without one has none."""
    limited(monkeypatch, 20_000)
    assert Overload(lambda: 0, Settings(dev=True, max_connections=500)).most == 500
    assert Overload(lambda: 0, Settings(dev=True)).most == 20_000 - DESCRIPTORS_BESIDES
    limited(monkeypatch, resource.RLIM_INFINITY)
    assert Overload(lambda: 0, Settings(dev=True)).most == float("inf")
