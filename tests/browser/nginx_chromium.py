"""The whole way, as users have it: Chromium's EventSource, nginx with the shipped site, and gateways that go away."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from browser.chromium import there_is_chromium
from browser.nginx_pages import LOCATION, Page, Pages
from chaos.judge import Verdict
from chaos.stage import Stage, stage
from deploy.gateways import fleet_through
from nginx import NginxServer
from servers import until

if TYPE_CHECKING:
    from chaos.scenarios import Scale  # which has this scenario in its list

LONGEST_RETRY = 4.5


async def nginx_and_chromium(scale: Scale) -> Verdict:
    """nginx and Chromium, gateway down (kill -9) for 10 s: none of 50 pages ends CLOSED; 100 events/s."""
    verdict = Verdict()
    async with stage(gateways=2) as s:
        gateway, publishing = s.gateways
        s.publish_to = [publishing]  # events go on while the pages' gateway is away
        async with NginxServer(gateway.port, locations=LOCATION) as nginx:
            pages = pages_through(nginx, s, max(round(50 * scale.load), 5))
            channels = [f"user:u{number}" for number in range(len(pages))]
            async with Pages(pages) as browser:
                await browser.settled(within=30)
                async with s.load([*channels, "broadcast"], rate=scale.rate(100)) as load:
                    await until(lambda: all(page.received.events for page in pages), what="every page has an event")
                    gateway.kill()
                    await gateway.wait()
                    await until(
                        lambda: not any(page.connected for page in pages), what="every page has lost its stream"
                    )
                    await asyncio.sleep(scale.seconds(10))
                    await gateway.start()
                    started = time.monotonic()
                    await browser.settled(within=LONGEST_RETRY + 10)
                    verdict.figures["last page back after"] = f"{time.monotonic() - started:.2f} s"
                    reached = load.published.total() + 100
                    await until(lambda: load.published.total() >= reached)
                verdict.take(await s.verdict(load))
        turned_away = sum(page.received.opened for page in pages) - 2 * len(pages)
        verdict.figures |= {"ended CLOSED": closed(pages), "turned away meanwhile": turned_away}
        if errors := s.errors():
            verdict.figures["errors logged"] = f"{len(errors)}: {errors[0][:300]}"
    return verdict


async def rolling_restart_behind_nginx(scale: Scale) -> Verdict:
    """Three processes behind nginx, restarted one after the other; 1,000 clients, 20 pages, 1,000 events/s."""
    verdict, seconds = Verdict(), scale.seconds(5)
    async with stage(gateways=3, settings={"GATEWAY_DRAIN_SECONDS": f"{seconds:g}"}) as s:
        ports = [gateway.port for gateway in s.gateways]
        async with NginxServer(*ports, locations=LOCATION, counted=False, connections=4096) as nginx:
            fleet = fleet_through(nginx, s, scale.clients(1000))
            pages = pages_through(nginx, s, max(round(20 * scale.load), 5) if there_is_chromium() else 0)
            channels = [*{channel for heard in s.listens.values() for channel in heard}]
            async with fleet, Pages(pages) as browser:
                await browser.settled(within=30)
                async with s.load(channels, rate=scale.rate(1000)) as load:
                    await until(lambda: all(client.received.events for client in s.clients), within=60)
                    for gateway in s.gateways:
                        s.publish_to = [other for other in s.gateways if other is not gateway]
                        gateway.terminate()
                        assert await gateway.wait(within=seconds + 15) == 0
                        await gateway.start()
                    await fleet.settled()
                    await browser.settled(within=LONGEST_RETRY + 10)
                    reached = load.published.total() + 100
                    await until(lambda: load.published.total() >= reached)
                verdict.take(await s.verdict(load))
            verdict.figures |= {"streams opened": sum(client.received.opened for client in s.clients)}
            verdict.figures |= {"refused": sum(client.received.refused.total() for client in s.clients)}
            verdict.figures |= {"cut inside a block": sum(c.received.cut_inside_a_block for c in s.clients)}
            verdict.figures |= {"ended CLOSED": closed(pages), "503s to publishers": load.unavailable}
        if errors := s.errors():
            verdict.figures["errors logged"] = f"{len(errors)}: {errors[0][:300]}"
    return verdict


def pages_through(nginx: NginxServer, s: Stage, number: int) -> list[Page]:
    """So many pages, each of a user of its own, among the clients that `s.verdict` judges."""
    pages = []
    for user in (f"u{n}" for n in range(number)):
        page = Page(f"http://{user}.localhost:{nginx.port}", s.token(user))
        s.listens[len(s.clients)] = (f"user:{user}", "broadcast")
        s.clients.append(page)
        pages.append(page)
    return pages


def closed(pages: list[Page]) -> str:
    """How many have given up for good."""
    return f"{sum(page.closed for page in pages)} of {len(pages)}"
