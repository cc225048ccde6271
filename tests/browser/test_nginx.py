"""EventSources of a real Chromium behind the shipped nginx site; the faults in their short form (`make chaos`)."""

from __future__ import annotations

import pytest
from browser.chromium import needs_chromium, there_is_chromium
from browser.nginx_chromium import nginx_and_chromium, rolling_restart_behind_nginx
from browser.nginx_pages import LOCATION, Page, Pages
from chaos.scenarios import SHORT
from nginx import NginxServer, needs_nginx
from servers import until
from web.inprocess import SECRET, bearer, claims, served, token

from gateway.config import PublishKey


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


@pytest.mark.slow
@needs_nginx
async def test_a_rolling_restart_loses_nothing() -> None:
    """Three gateways go one after the other: nobody is refused, no page is closed, every event arrives once."""
    verdict = await rolling_restart_behind_nginx(SHORT)
    assert verdict.clean, str(verdict)
    assert verdict.gaps == 0, str(verdict)
    assert verdict.figures["refused"] == verdict.figures["cut inside a block"] == 0, str(verdict)
    assert verdict.figures["ended CLOSED"] == ("0 of 5" if there_is_chromium() else "0 of 0"), str(verdict)
    assert "errors logged" not in verdict.figures, str(verdict)


@pytest.mark.slow
@needs_nginx
@needs_chromium
async def test_ten_tabs_of_one_user_over_http2() -> None:
    """With TLS a browser has a stream in every tab: HTTP/1.1 would leave the seventh waiting for a connection."""
    async with (
        served(jwt_secret=SECRET, publish_keys=(PublishKey("k", "key"),)) as gateway,
        NginxServer(gateway.port, overlays=["tls"], locations=LOCATION) as nginx,
    ):
        tabs = [Page(f"https://localhost:{nginx.port}", token(claims("alice"))) for _ in range(10)]
        async with Pages(tabs) as browser:
            await browser.settled(within=30)
            assert not any(tab.closed for tab in tabs)
            tick = {"event_type": "tick", "data": {"c": "user:alice", "s": 1}}
            async with gateway.http.post("/v1/users/alice/events", json=tick, headers=bearer("key")) as response:
                assert response.status == 202
            await until(lambda: all(tab.received.events == [("user:alice", 1)] for tab in tabs))
            assert len(gateway.gateway.hub.connections) == 10
