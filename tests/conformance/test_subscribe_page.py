"""Clients that others wrote, and ours, as docs/subscribe.md uses them: each hears every event once, in order.

They all run at once, over one gateway that treats them badly; a test for each then looks at what it printed.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from uuid import uuid4

import aiohttp
import pytest
from browser.chromium import CHROMIUM
from browser.tabs import one_browser
from conformance.programs import (
    Program,
    Running,
    numbers,
    other_lines,
    page,
    process,
    programs,
    with_packages,
    words_for,
)
from integration.helping import Publishing, over, post, publishing
from npm import missing, need_node, ran
from proxy import Proxy
from servers import GatewayProcess, free_port, until
from streams import assert_clean
from web.inprocess import SECRET, bearer, claims, served, token

from gateway.config import PublishKey

PROGRAMS = {
    f"{each.name} ({each.kind})": each for each in programs() if each.kind in ("js browser", "js node", "python")
}
WITHIN = 45.0
LOOK_EVERY = 0.2
"""Seconds; reading all that was printed is work that the programs need the processor for."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Outcome:
    """What each program printed."""

    def __init__(self) -> None:
        self.published: list[int] = []
        self.failure: str | None = None
        self.numbers: dict[str, list[int]] = {}
        self.others: dict[str, list[str]] = {}


@pytest.fixture(scope="module")
def outcome(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    yield asyncio.run(all_at_once(redis_url, tmp_path_factory.mktemp("programs")))


def why_not(program: Program) -> str | None:
    if program.kind == "js browser" and shutil.which(CHROMIUM) is None:
        return f"there is no {CHROMIUM}"
    return missing() if program.kind.startswith("js") else None


async def all_at_once(redis_url: str, folder: Path) -> Outcome:
    """Start them, cut their connections, kill the gateway, drain it; events go on meanwhile by another gateway."""
    chosen = {name: program for name, program in PROGRAMS.items() if why_not(program) is None}
    ports = {name: free_port() for name in chosen}
    origins = ",".join(f"http://127.0.0.1:{port}" for port in ports.values())
    settings = over(redis_url, f"test-{uuid4().hex}", GATEWAY_JWT_SECRET=SECRET, GATEWAY_RETRY_MS="200")
    settings |= {"GATEWAY_CORS_ORIGINS": origins, "GATEWAY_DRAIN_SECONDS": "0.5"}
    settings |= {"GATEWAY_RETENTION_MAX_EVENTS": "100000"}  # some wait half a minute before they come back
    result = Outcome()
    async with AsyncExitStack() as stack:
        gateway, other = (GatewayProcess(settings, "--dev") for _ in range(2))
        await asyncio.gather(*(stack.enter_async_context(each) for each in (gateway, other)))
        proxy = await stack.enter_async_context(Proxy(gateway.port))
        running = await started(stack, chosen, ports, f"http://127.0.0.1:{proxy.port}", folder)
        try:
            result.published = await through_trouble(running, gateway, other, proxy)
            await until(lambda: all_have(running, len(result.published)), within=WITHIN, what="all programs have all")
        except AssertionError as error:
            result.failure = str(error)
        for name, program in running.items():
            result.numbers[name] = await numbers(program)
            result.others[name] = await other_lines(program)
    return result


async def started(
    stack: AsyncExitStack, chosen: dict[str, Program], ports: dict[str, int], url: str, folder: Path
) -> dict[str, Running]:
    """As long as the stack is there. The address of the page is replaced by `url`."""
    shown = token(claims("alice", seconds=600))
    with_packages(folder)
    kinds = {program.kind for program in chosen.values()}
    devtools = stack.enter_context(one_browser()) if "js browser" in kinds else ""
    running: dict[str, Running] = {}
    opened: AbstractAsyncContextManager[Running]
    for number, (name, program) in enumerate(chosen.items()):
        if program.kind == "js browser":
            opened = page(devtools, ports[name], program.at(url), shown)
        else:
            file = folder / f"{number}.{'mjs' if program.kind == 'js node' else 'py'}"
            file.write_text(program.at(url))
            opened = process(folder, file.stem, *words_for(program, file), env={"TOKEN": shown})
        running[name] = await stack.enter_async_context(opened)
    return running


async def through_trouble(
    running: dict[str, Running], gateway: GatewayProcess, other: GatewayProcess, proxy: Proxy
) -> list[int]:
    """What was published, while connections were cut, and the gateway was killed, and drained."""
    await until(lambda: connections(gateway, len(running)), within=WITHIN, what="all programs are connected")
    await post(other.url, "/v1/users/alice/events", {"event_type": "basket.count", "data": -1})
    await until(lambda: all_have(running, 1), within=WITHIN, what="all programs have the first event")
    async with publishing(other.url, per_second=20, event_type="basket.count") as published:
        proxy.cut()
        await all_go_on(running, published)
        gateway.kill()
        await gateway.wait()
        await gateway.start()
        await all_go_on(running, published)
        gateway.terminate()
        await gateway.wait()
        await gateway.start()
        await all_go_on(running, published)
    return [-1, *published.acknowledged]


async def connections(gateway: GatewayProcess, wanted: int) -> bool:
    async with aiohttp.ClientSession() as http, http.get(f"{gateway.url}/metrics") as response:
        lines = (await response.text()).splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("gateway_connections{")) == wanted


async def all_have(running: dict[str, Running], count: int) -> bool:
    await asyncio.sleep(LOOK_EVERY)
    return all([len(await numbers(program)) >= count for program in running.values()])


async def all_go_on(running: dict[str, Running], published: Publishing) -> None:
    """Each hears something that is published from now on."""
    now = len(published.acknowledged)
    await until(lambda: all_have(running, now + 2), within=WITHIN, what="all programs go on")


@pytest.mark.parametrize("name", PROGRAMS)
async def test_a_client_hears_every_event_once(outcome: Outcome, name: str) -> None:
    """In order, over a connection that was cut, and a gateway that was killed and drained; and of no gap."""
    if (reason := why_not(PROGRAMS[name])) is not None:
        pytest.skip(reason)
    assert outcome.published, f"{outcome.failure}; it printed {outcome.numbers[name]} {outcome.others[name]}"
    try:
        assert_clean(outcome.numbers[name], outcome.published)
    except AssertionError as error:
        error.add_note(f"{outcome.failure}; what else it printed: {outcome.others[name][-20:]}")
        raise
    assert not [line for line in outcome.others[name] if re.search("anew|^failed|Traceback", line)]


async def test_the_table_is_right_about_npm() -> None:
    """What each client does by itself when a stream ends or is refused, and which ids it keeps."""
    need_node()
    await ran("node", "--test-reporter=tap", str(Path(__file__).with_name("others.test.mjs")))


async def test_the_react_hooks_hear_and_let_go(tmp_path: Path) -> None:
    """A component shows what comes and the state, by its last rendering's handler; one that is gone is not told."""
    need_node()
    with_packages(tmp_path)
    [hooks] = [each for each in programs() if each.kind == "js use-events.js"]
    (tmp_path / "use-events.mjs").write_text(hooks.text)
    await ran("node", str(Path(__file__).with_name("react.mjs")), str(tmp_path / "use-events.mjs"))


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_the_shell_line_shows_the_stream(tmp_path: Path) -> None:
    """As it is typed, with a token in the environment."""
    [line] = [each for each in programs() if each.kind == "sh"]
    async with served(jwt_secret=SECRET, publish_keys=(PublishKey("all", "a-key"),)) as gateway:
        env = {"TOKEN": token(claims("alice"))}
        async with process(tmp_path, "curl", "bash", "-c", f"exec {line.at(gateway.url)}", env=env) as curl:

            async def shown(line: str) -> bool:
                return any(printed.endswith(line) for printed in await curl.lines())  # its meter is there too

            await until(lambda: gateway.gateway.hub.connections, what="curl is connected")
            event = {"event_type": "basket.count", "data": 3}
            await gateway.http.post("/v1/users/alice/events", json=event, headers=bearer("a-key"))
            await until(lambda: shown("data: 3"), what="curl shows the event")


def test_the_page_has_programs_for_each_client() -> None:
    """Those of the table, so that none is left out for its heading."""
    assert len(PROGRAMS) == 10
    packages = ("eventsource", "eventsource-client", "@microsoft/fetch-event-source", "event-gateway-client")
    for package in (*packages, "httpx_sse", "sseclient", "aiohttp_sse_client", "gateway.client", "new EventSource("):
        assert any(package in program.text for program in PROGRAMS.values()), package
