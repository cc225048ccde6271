from __future__ import annotations

import resource

import pytest

from gateway.bench.files import BESIDES, make_room
from gateway.bench.plan import CannotRun

Limits = tuple[int, int]


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> list[Limits]:
    """The limits as they were set, the last in force; a stand-in, since a test must not change its process's own."""
    history = [(1024, 4096)]

    def raised(_: int, new: Limits) -> None:
        if new[1] != resource.RLIM_INFINITY and new[0] > new[1]:
            raise ValueError("current limit exceeds maximum limit")
        history.append(new)

    monkeypatch.setattr(resource, "getrlimit", lambda _: history[-1])
    monkeypatch.setattr(resource, "setrlimit", raised)
    return history


def test_enough(limits: list[Limits]) -> None:
    """A limit that suffices stays."""
    make_room(1024 - BESIDES)
    assert len(limits) == 1


def test_raised(limits: list[Limits]) -> None:
    """The soft limit is raised as far as needed, the hard one stays."""
    make_room(2000)
    assert limits[-1] == (2000 + BESIDES, 4096)


@pytest.mark.parametrize("limit", [(1024, resource.RLIM_INFINITY), (resource.RLIM_INFINITY, resource.RLIM_INFINITY)])
def test_no_hard_limit(limit: Limits, limits: list[Limits]) -> None:
    """Without a hard limit any number will do."""
    limits[:] = [limit]
    make_room(100_000)
    assert limits[-1][0] in (100_000 + BESIDES, resource.RLIM_INFINITY)


def test_the_hard_limit_is_in_the_way(limits: list[Limits]) -> None:
    """More than the hard limit is refused, with what to do."""
    with pytest.raises(CannotRun) as caught:
        make_room(5000)
    assert caught.value.detail == (
        "5,000 connections need 5,128 open files and the limit is 4,096: "
        "raise it (`ulimit -n 5128` as root, LimitNOFILE= of a unit), or give fewer --connections"
    )
    assert len(limits) == 1


def test_the_system_says_no(limits: list[Limits], monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit that cannot be raised after all is told the same way."""

    def refused(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(resource, "setrlimit", refused)
    with pytest.raises(CannotRun, match=r"need 2,128 open files and the limit is 1,024"):
        make_room(2000)
