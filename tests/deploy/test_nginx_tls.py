"""deploy/nginx/tls: HTTP/2 for browsers, over which many streams share one connection."""

from __future__ import annotations

import ssl
from contextlib import AsyncExitStack

import httpx
import pytest
from deploy.gateways import StandIn
from nginx import NginxServer, needs_nginx
from servers import free_port
from web.inprocess import served

from gateway.event_stream import EventStreamParser

MANY = 20

pytestmark = needs_nginx


async def test_streams_share_a_connection() -> None:
    """Over one HTTP/2 connection many streams are open at once, and each event is on all of them at once."""
    async with served() as gateway, NginxServer(gateway.port, overlays=["tls"]) as nginx, AsyncExitStack() as open_:
        limits = httpx.Limits(max_connections=1)
        browser = await open_.enter_async_context(httpx.AsyncClient(http2=True, verify=False, limits=limits, timeout=5))
        streams = []
        for _ in range(MANY):
            stream = await open_.enter_async_context(browser.stream("GET", f"{nginx.url}/v1/events?user=alice"))
            assert (stream.status_code, stream.http_version) == (200, "HTTP/2")
            assert stream.headers["Content-Type"] == "text/event-stream"
            assert stream.headers["Strict-Transport-Security"] == "max-age=31536000"
            streams.append(stream)
        await gateway.publish("alice", "number", 1)
        for stream in streams:
            parser, events = EventStreamParser(), []
            async for chunk in stream.aiter_raw():
                events += parser.feed(chunk)
                if events:
                    break
            assert [event.data for event in events] == ["1"]


async def test_without_a_gateway_it_says_when_to_retry() -> None:
    """The answer in a gateway's place comes over HTTP/2 as well."""
    async with NginxServer(1, overlays=["tls"]) as nginx, httpx.AsyncClient(http2=True, verify=False) as browser:
        answer = await browser.get(f"{nginx.url}/v1/events?user=alice")
        assert (answer.status_code, answer.http_version) == (200, "HTTP/2")
        assert answer.text.startswith("retry:")
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"


async def test_the_gateway_is_told_that_it_was_tls() -> None:
    """The scheme that the client used is nginx' word too."""
    gateway, port = StandIn(streams=False), free_port()
    async with (
        gateway.listening(port),
        NginxServer(port, overlays=["tls"]) as nginx,
        httpx.AsyncClient(http2=True, verify=False) as browser,
    ):
        await browser.get(f"{nginx.url}/v1/events", headers={"X-Forwarded-Proto": "http"})
    assert gateway.requests[0].headers.getall("X-Forwarded-Proto") == ["https"]


async def test_what_has_no_forward_secrecy_is_refused() -> None:
    """A client that knows nothing better gets no connection."""
    async with served() as gateway, NginxServer(gateway.port, overlays=["tls"]) as nginx:
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.set_ciphers("AES128-GCM-SHA256")
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        async with httpx.AsyncClient(verify=old) as client:
            with pytest.raises(httpx.ConnectError, match=r"(?i)handshake.failure"):
                await client.get(f"{nginx.url}/v1/events?user=alice")
