"""The whole way, as users have it: Chromium's EventSource, nginx with the shipped site, and a gateway that dies."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from browser.nginx_pages import LOCATION, Page, Pages
from chaos.judge import Verdict
from chaos.stage import stage
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
            pages = []
            for number in range(max(round(50 * scale.load), 5)):
                user = f"u{number}"
                pages.append(Page(f"http://{user}.localhost:{nginx.port}", s.token(user)))
                s.listens[number] = (f"user:{user}", "broadcast")
            s.clients += pages
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
        closed = sum(page.closed for page in pages)
        turned_away = sum(page.received.opened for page in pages) - 2 * len(pages)
        verdict.figures |= {"ended CLOSED": f"{closed} of {len(pages)}", "turned away meanwhile": turned_away}
        if errors := s.errors():
            verdict.figures["errors logged"] = f"{len(errors)}: {errors[0][:300]}"
    return verdict
