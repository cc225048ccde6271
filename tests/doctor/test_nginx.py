"""The doctor before a real nginx: well with the shipped site, and each way to set it up badly is found and mended."""

from __future__ import annotations

import pytest
from doctor.examining import examined, findings, mends
from nginx import NginxServer, needs_nginx
from web.inprocess import served

from gateway.doctor.report import Outcome

pytestmark = needs_nginx

UNBUFFERED = "proxy_buffering off;"
PROTOCOL = "proxy_http_version 1.1;"
UNCOMPRESSED = 'gzip off;\n        proxy_set_header Accept-Encoding "";'
IGNORED = "proxy_ignore_headers X-Accel-Buffering;"
"""With this nginx buffers, as is its default; with HTTP/1.0, its other default, it waits for full buffers."""


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where what is waited for will not come."""
    monkeypatch.setattr("gateway.doctor.opening.OPENS_WITHIN", 1.0)
    monkeypatch.setattr("gateway.doctor.delivery.ARRIVE_WITHIN", 1.5)


async def test_the_shipped_site_is_well() -> None:
    """Nothing is found, and nothing is left out but what was not asked for."""
    async with served() as gateway, NginxServer(gateway.port) as nginx:
        found = await examined(nginx.url, internal=gateway.url)
    assert findings(found) == set()
    assert {name for name, check in found.items() if check.outcome is not Outcome.OK} == {"cors"}


@pytest.mark.parametrize("gzip", [False, True], ids=["alone", "and gzip"])
async def test_proxy_buffering(gzip: bool, impatient: None) -> None:
    """Streams do not even open by themselves; a push shows that they were held back. With gzip, that is told too."""
    wrong = {UNBUFFERED: IGNORED, PROTOCOL: ""} | ({UNCOMPRESSED: ""} if gzip else {})
    async with served() as gateway, NginxServer(gateway.port, replace=wrong) as nginx:
        found = await examined(nginx.url, internal=gateway.url)
    assert findings(found) == {"buffering"} | ({"gzip"} if gzip else set())
    assert "a proxy collects the stream" in found["buffering"].says
    assert "proxy_buffering off;" in mends(found["buffering"])
    assert "proxy_http_version 1.1;" in mends(found["buffering"])
    assert found["resume"].outcome is Outcome.SKIPPED


async def test_gzip() -> None:
    """A stream that is compressed for browsers is found, though it may come in time."""
    async with served() as gateway, NginxServer(gateway.port, replace={UNCOMPRESSED: ""}) as nginx:
        found = await examined(nginx.url, internal=gateway.url)
    assert findings(found) == {"gzip"}
    assert "gzip off;" in mends(found["gzip"])


async def test_a_missing_header() -> None:
    """X-Accel-Buffering, which nginx keeps to itself unless it is told."""
    wrong = {"proxy_pass_header X-Accel-Buffering;": ""}
    async with served() as gateway, NginxServer(gateway.port, replace=wrong) as nginx:
        found = await examined(nginx.url, internal=gateway.url)
    assert findings(found) == {"headers"}
    assert "proxy_pass_header X-Accel-Buffering;" in mends(found["headers"])


async def test_caching() -> None:
    """A Cache-Control of the proxy's own, which lets others keep a stream."""
    wrong = {UNBUFFERED: UNBUFFERED + " proxy_hide_header Cache-Control; add_header Cache-Control 'max-age=60';"}
    async with served() as gateway, NginxServer(gateway.port, replace=wrong) as nginx:
        found = await examined(nginx.url, internal=gateway.url)
    assert findings(found) == {"caching"}
    assert "'max-age=60'" in found["caching"].says
    assert "proxy_cache off;" in mends(found["caching"])


async def test_an_idle_cut() -> None:
    """A proxy that bears silence for less than the time between two heartbeats."""
    wrong = {"proxy_read_timeout 65s;": "proxy_read_timeout 2s;"}
    async with served() as gateway, NginxServer(gateway.port, replace=wrong) as nginx:
        found = await examined(nginx.url, internal=gateway.url, idle=6)
    assert findings(found) == {"idle"}
    assert "a quiet stream was cut after 2." in found["idle"].says
    assert "silence is not borne for longer" in found["idle"].says
    assert "proxy_read_timeout 65s;" in mends(found["idle"])


async def test_a_lost_cursor(impatient: None) -> None:
    """A proxy that drops Last-Event-ID: what is missed during a cut never comes."""
    wrong = {UNBUFFERED: UNBUFFERED + ' proxy_set_header Last-Event-ID "";'}
    async with served() as gateway, NginxServer(gateway.port, replace=wrong) as nginx:
        found = await examined(nginx.url, internal=gateway.url)
    assert findings(found) == {"resume"}
    assert "Last-Event-ID does not reach the gateway" in found["resume"].says


async def test_publishing_is_for_the_inside() -> None:
    """Through the public site nothing can be published, which is right: the doctor asks for the other address."""
    async with served() as gateway, NginxServer(gateway.port) as nginx:
        found = await examined(nginx.url)
    assert findings(found) == set()
    assert "give --internal URL" in found["publish"].says
    skipped = {name for name, check in found.items() if check.outcome is Outcome.SKIPPED}
    assert skipped == {"health", "publish", "buffering", "delivery", "resume", "cors"}


async def test_pages_of_another_site() -> None:
    """A preflight that is refused is found with the three places that let it through; then it is well."""
    origin = "https://app.example.com"
    async with served() as gateway, NginxServer(gateway.port) as nginx:
        found = await examined(nginx.url, internal=gateway.url, origin=origin)
    assert findings(found) == {"cors"}
    assert f"GATEWAY_CORS_ORIGINS={origin}" in mends(found["cors"])
    async with served(cors_origins=(origin,)) as gateway, NginxServer(gateway.port) as nginx:
        assert findings(await examined(nginx.url, internal=gateway.url, origin=origin)) == set()
    without = {"limit_except GET OPTIONS { deny all; }": "limit_except GET { deny all; }"}
    async with served(cors_origins=(origin,)) as gateway, NginxServer(gateway.port, replace=without) as nginx:
        found = await examined(nginx.url, internal=gateway.url, origin=origin)
        assert "the preflight is answered 403" in found["cors"].says
