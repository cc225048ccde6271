"""A gateway that takes streams and hears nothing, beside one that does: found, however green it looks."""

from __future__ import annotations

import pytest
from doctor.examining import examined, findings, mends
from integration.helping import over
from nginx import NginxServer, needs_nginx
from proxy import Proxy
from servers import GatewayProcess
from web.inprocess import served

from gateway.doctor.report import Outcome


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is waited for will not come."""
    monkeypatch.setattr("gateway.doctor.delivery.ARRIVE_WITHIN", 1.5)
    monkeypatch.setattr("gateway.doctor.delivery.PADDED_WITHIN", 1.0)


@needs_nginx
async def test_one_that_lost_its_redis(redis_url: str, prefix: str) -> None:
    """Between it and Redis all is swallowed; publishing goes through the other. Half of the streams hear nothing."""
    async with Proxy(int(redis_url.rpartition(":")[2])) as proxy:
        healthy = GatewayProcess(over(redis_url, prefix), "--dev")
        deaf = GatewayProcess(over(proxy.url, prefix), "--dev")
        async with healthy, deaf, NginxServer(healthy.port, deaf.port) as nginx:
            proxy.black_hole()
            found = await examined(nginx.url, internal=healthy.url)
            assert findings(found) == {"delivery"}
            assert "a gateway process is deaf: 2 of 4 streams heard nothing" in found["delivery"].says
            assert "/readyz" in mends(found["delivery"])
            assert "CLIENT LIST TYPE pubsub" in mends(found["delivery"])
            assert found["buffering"].outcome is Outcome.OK


@needs_nginx
async def test_one_that_listens_elsewhere(redis_url: str, prefix: str) -> None:
    """Each process is ready, and well if it is looked at alone: one has another prefix."""
    one, other = served(broker_url=redis_url, channel_prefix=prefix), served(broker_url=redis_url)
    async with one as ours, other as another, NginxServer(ours.port, another.port) as nginx:
        found = await examined(nginx.url, internal=ours.url)
    assert findings(found) == {"delivery"}
    assert "2 of 4 streams heard nothing" in found["delivery"].says
    assert "GATEWAY_CHANNEL_PREFIX" in mends(found["delivery"])


async def test_publishing_somewhere_else() -> None:
    """Two deployments are taken for one: events are taken, and nobody hears of them."""
    async with served() as one, served() as other:
        found = await examined(one.url, internal=other.url)
    assert findings(found) == {"delivery"}
    assert found["delivery"].says == "events are taken, and none of 4 streams hears of them"
    assert "--internal" in mends(found["delivery"])
