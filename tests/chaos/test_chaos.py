"""Each fault in its short form, within the suite. The full forms: `make chaos`."""

from __future__ import annotations

import pytest
from chaos import floods
from chaos.scenarios import ALL, SHORT, Scenario


@pytest.mark.slow
@pytest.mark.parametrize("scenario", (*ALL, *floods.ALL), ids=lambda scenario: scenario.__name__)
async def test_nothing_is_lost_doubled_or_disordered(scenario: Scenario) -> None:
    """Whatever fails, every client has every event of its channels once, in order."""
    verdict = await scenario(SHORT)
    assert verdict.clean, str(verdict)
    assert "errors logged" not in verdict.figures, str(verdict)
    assert verdict.gaps == 0, f"a gap was told though nothing was lost: {verdict}"
