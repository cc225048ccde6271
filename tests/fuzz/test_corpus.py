"""All that parses holds what it promises, for every input that was ever found interesting, and for their like."""

from __future__ import annotations

import pytest
from fuzz.corpus import CORPUS, alike, inputs
from fuzz.targets import TARGETS
from hypothesis import HealthCheck, given, settings

EXAMPLES = 150


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_kept(name: str) -> None:
    """Each input of the corpus."""
    kept = inputs(name)
    assert kept
    for data in kept:
        TARGETS[name](data)


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_alike(name: str) -> None:
    """And what comes of them by changes here and there."""

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(alike(inputs(name)))
    def holds(data: bytes) -> None:
        TARGETS[name](data)

    holds()


def test_every_folder_has_its_target() -> None:
    """Nothing is kept that nobody replays."""
    assert {folder.name for folder in CORPUS.iterdir()} == set(TARGETS)
