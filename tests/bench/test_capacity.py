"""The capacity model: it refuses what cannot be, holds what is plain, and agrees with its simulation."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"
sys.path.insert(0, str(BENCH))

from capacity import BadInput, Capacity, Measured, Plan, capacity  # noqa: E402
from simulate import compare  # noqa: E402

MEASURED = Measured.load()
SMALL = Plan(users=200_000, most=4000, session=600, deploy=300)
TOLERANCE = 12.0
"""Percent between model and simulation. Most are within 2; a peak of seconds, at small counts, is not sharper."""


def sized(**changes: float | str) -> Capacity:
    return capacity(replace(SMALL, **changes), MEASURED)  # type: ignore[arg-type]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCH / "capacity.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("balancer", ["least_conn", "random"])
@pytest.mark.parametrize("drain", [10.0, 20.0])
def test_model_and_simulation_agree(balancer: str, drain: float) -> None:
    """Every figure that both give, for both ways to balance."""
    plan = replace(SMALL, balancer=balancer, drain=drain)
    apart = {row.name: row.percent for row in compare(plan, MEASURED, seed=7) if abs(row.percent) > TOLERANCE}
    assert apart == {}


def test_the_simulation_gives_the_same_figures_for_the_same_seed() -> None:
    assert compare(SMALL, MEASURED, seed=3) == compare(SMALL, MEASURED, seed=3)


def test_no_limit_is_exceeded_by_the_fullest_process() -> None:
    found = sized()
    assert found.per_process <= min(found.limits.values())
    assert found.per_process * found.deploy_peak <= SMALL.most * 1.01
    assert found.deploy_cpu <= 0.91
    assert found.processes * found.per_process == pytest.approx(found.connections)


def test_placing_at_random_leaves_nearly_e_times_the_mean_on_the_last_to_be_restarted() -> None:
    """Without new clients meanwhile: (1 + 1/29)^29 for 30 batches."""
    found = sized(balancer="random", session=1e9, deploy=900.0)
    assert found.deploy_peak / found.imbalance == pytest.approx(
        (found.batches / (found.batches - 1)) ** (found.batches - 1)
    )
    assert 2.5 < found.deploy_peak / found.imbalance < 2.72


def test_more_of_anything_never_needs_less() -> None:
    base = sized()
    assert sized(users=400_000).pods > base.pods
    assert sized(broadcasts=60).pods > base.pods
    assert sized(events=100_000).partitions > base.partitions
    assert sized(more_tabs=1).announcements > base.announcements
    assert sized(event_bytes=2000).egress > base.egress


def test_partitions_follow_the_reason_that_asks_for_most() -> None:
    found = sized(events=100_000, heal=10)
    assert found.partitions >= max(found.partitions_by.values()) > found.partitions - 1
    assert found.journal_reach >= 10


def test_two_pods_at_least_and_one_alone_holds_all_while_the_other_restarts() -> None:
    found = sized(users=10)
    assert found.pods == 2
    assert found.deploy_peak == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--users", "0"),
        ("--users", "nan"),
        ("--users", "inf"),
        ("--events", "-2"),
        ("--more-tabs", "1.5"),
        ("--zipf", "1"),
        ("--headroom", "1"),
        ("--batch", "0"),
        ("--deploy", "30"),
        ("--balancer", "sticky"),
        ("--broadcasts", "10001"),
        ("--pod-memory", "0.06"),
        ("--measured", "/nowhere.json"),
    ],
)
def test_what_cannot_be_is_refused_by_the_name_of_its_option(option: str, value: str) -> None:
    ended = run("--users", "1e5", option, value)
    assert ended.returncode == 2
    assert f"error: {option}: " in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_pod_that_holds_no_connection_is_refused_by_what_is_too_small() -> None:
    with pytest.raises(BadInput, match="--pod-memory: not one connection"):
        sized(pod_cores=8, pod_memory=0.5)


def test_users_must_be_given() -> None:
    ended = run()
    assert ended.returncode == 2
    assert "--users" in ended.stderr


@pytest.mark.parametrize(
    ("name", "value"), [("delivery_us", -1), ("delivery_us", "7"), ("delivery_us", None), ("x_us", 1)]
)
def test_a_figure_that_cannot_be_is_refused_by_its_name(tmp_path: Path, name: str, value: object) -> None:
    held = json.loads((BENCH / "measured.json").read_text())
    held["figures"][name] = {"value": value}
    (tmp_path / "measured.json").write_text(json.dumps(held))
    with pytest.raises(BadInput, match=name):
        Measured.load(tmp_path / "measured.json")


def test_every_figure_says_what_it_is_and_where_it_comes_from() -> None:
    for name, figure in json.loads((BENCH / "measured.json").read_text())["figures"].items():
        assert {"value", "what", "source", "date"} <= figure.keys(), name


def test_json_holds_the_plan_and_the_answer() -> None:
    ended = run("--users", "1e6", "--json")
    answer = json.loads(ended.stdout)
    assert answer["plan"]["users"] == 1e6
    assert answer["capacity"]["connections"] == pytest.approx(1.2e6)
    assert answer["capacity"]["notes"] == capacity(Plan(users=1e6), MEASURED).notes
