"""EventSources of a real Chromium behind the shipped nginx site, in the short form. The full one: `make chaos`."""

from __future__ import annotations

import pytest
from browser.chromium import needs_chromium
from browser.nginx_chromium import nginx_and_chromium
from chaos.scenarios import SHORT
from nginx import needs_nginx


@pytest.mark.slow
@needs_nginx
@needs_chromium
async def test_no_page_is_closed_by_a_gateway_that_is_killed() -> None:
    """Every page comes back by itself, with every event once and in order, though nothing answered for a while."""
    verdict = await nginx_and_chromium(SHORT)
    assert verdict.clean, str(verdict)
    assert verdict.gaps == 0, str(verdict)
    assert verdict.figures["ended CLOSED"] == "0 of 5", str(verdict)
    assert "errors logged" not in verdict.figures, str(verdict)
