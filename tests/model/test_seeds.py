"""Random scripts: whatever happens in whatever order, every client is given exactly what is its due.

`MODEL_SEEDS=20000 MODEL_FIRST_SEED=300 pytest tests/model/test_seeds.py` plays more of them.
"""

from __future__ import annotations

import asyncio
import os

import pytest
from model import virtual_time
from model.script import from_seed
from model.simulate import play, report

from gateway.healing import Healing
from gateway.hub import Hub
from gateway.hub.channel import Channel

FIRST_SEED = int(os.environ.get("MODEL_FIRST_SEED", "0"))
SEEDS = int(os.environ.get("MODEL_SEEDS", "300"))
REPORTS_AT_MOST = 3


@pytest.mark.timeout(60 + SEEDS)
def test_every_client_is_given_exactly_what_is_its_due_whatever_happens() -> None:
    """No event twice, out of order, or lost without a gap; no gap without a loss; nothing left behind."""
    reports: list[str] = []
    for seed in range(FIRST_SEED, FIRST_SEED + SEEDS):
        if (failed := report(seed)) is not None:
            reports.append(failed)
            if len(reports) == REPORTS_AT_MOST:
                break
    assert not reports, "\n\n".join(["", *reports])


def test_a_seed_is_the_same_run_every_time() -> None:
    """Else a failing seed could not be looked at, nor its script be made shorter."""
    assert [play(*from_seed(seed)) for seed in range(10)] == [play(*from_seed(seed)) for seed in range(10)]


@pytest.mark.parametrize(
    ("owner", "method"),
    [(Channel, "lacks"), (Healing, "link_lost"), (Hub, "tell_gap")],
    ids=["tails believed to be whole", "nothing held while the link is down", "gaps not told"],
)
def test_what_is_broken_is_found(owner: type, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that cannot fail proves nothing: without one of these, a few seeds are enough to see it."""
    monkeypatch.setattr(owner, method, lambda *_: None)
    assert any(play(*from_seed(seed)).blamed for seed in range(50))


def test_a_loop_with_nothing_to_wait_for_is_stuck() -> None:
    """A deadlock ends the run instead of hanging it."""
    with pytest.raises(virtual_time.Stuck, match="deadlock"):
        virtual_time.run(_wait_for_ever())


async def _wait_for_ever() -> None:
    await asyncio.get_running_loop().create_future()
