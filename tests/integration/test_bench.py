"""`gateway bench` as people run it, against gateways in processes of their own."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from integration.helping import Outcome, Pair, gateway_command, over
from servers import HOST, ROOT, GatewayProcess, free_port, until
from streams import Stream

SECRET = "a-secret-of-the-tests-that-is-long-enough"
KEYS = {"all": "hunter2-of-all", "users": "hunter2-of-users"}
PRODUCTION = {
    "GATEWAY_JWT_SECRET": SECRET,
    "GATEWAY_PUBLISH_KEYS": f"all:{KEYS['all']}:*,users:{KEYS['users']}:user:*",
}
SHORT = ("--connections", "6", "--rate", "100", "--seconds", "0.3")
EVENTS = 30


async def bench(url: str, *flags: str, **env: str) -> Outcome:
    outcome = await gateway_command("bench", "--url", url, *SHORT, *flags, env=env)
    for secret in (SECRET, "hunter2"):
        assert secret not in outcome.out + outcome.err
    return outcome


async def figures(url: str, *flags: str, status: int = 0, **env: str) -> dict[str, Any]:
    """What --json prints."""
    outcome = await bench(url, "--json", *flags, **env)
    assert outcome.status == status, outcome.err
    found: dict[str, Any] = json.loads(outcome.out)
    assert found["clean"] == (status == 0)
    return found


async def refused(url: str, *flags: str, **env: str) -> str:
    """The one line of a run that could not begin."""
    outcome = await bench(url, *flags, **env)
    assert (outcome.status, outcome.out) == (2, ""), outcome.err
    assert outcome.err.startswith("gateway: ")
    assert outcome.err.count("\n") == 1
    return outcome.err.removeprefix(f"gateway: {url}: ").strip()


def row(table: str, label: str) -> str:
    return next(line.removeprefix(label).strip() for line in table.splitlines() if line.startswith(label))


# --- development mode


@pytest.mark.parametrize(("to", "each"), [("users", 1), ("topic", 6), ("broadcast", 6)])
async def test_clean(to: str, each: int) -> None:
    """Against a development gateway nothing is needed; all that is due arrives, and is told."""
    async with GatewayProcess({}, "--dev") as gateway:
        found = await figures(gateway.url, "--to", to)
    assert (found["url"], found["to"], found["rate"], found["seconds"]) == (gateway.url, to, 100, 0.3)
    connections, published, deliveries = found["connections"], found["published"], found["deliveries"]
    assert connections.pop("per_second") > 0
    assert connections == {"asked": 6, "opened": 6, "errors": 0, "ended_early": 0}
    assert published.pop("per_second") > 0
    assert 0 < published["latency_ms"]["p50"] <= published["latency_ms"]["p99"] <= published["latency_ms"]["max"]
    del published["latency_ms"]
    assert published == {"asked": EVENTS, "sent": EVENTS, "accepted": EVENTS, "refused": 0, "unanswered": 0}
    assert deliveries.pop("per_second") > 0
    latencies = [deliveries["latency_ms"][name] for name in ("p50", "p95", "p99", "p99.9", "max")]
    assert latencies[0] > 0
    assert latencies == sorted(latencies)
    del deliveries["latency_ms"]
    faults = ("lost", "duplicates", "out_of_order", "misdelivered", "other_events")
    assert deliveries == {"count": EVENTS * each, "told": {}} | dict.fromkeys(faults, 0)
    assert found["client"]["cpu_share"] > 0
    assert found["client"]["lag_p99_ms"] >= 0


async def test_the_table() -> None:
    """Without --json the same is a table for people."""
    async with GatewayProcess({}, "--dev") as gateway:
        outcome = await bench(gateway.url, "--to", "topic")
    assert outcome.status == 0
    first, _, *rows = outcome.out.splitlines()
    assert first.startswith(f"6 connections to {gateway.url}; {EVENTS} events, each to all; run ")
    assert [row(outcome.out, label) for label in ("deliveries  ", "lost", "duplicates", "out of order")] == [
        str(6 * EVENTS), "0", "0", "0"
    ]  # fmt: skip
    assert {"connects/s", "published/s", "deliveries/s", "POST", "delivery"} <= {line.split()[0] for line in rows}


async def test_without_retention() -> None:
    """A gateway that keeps nothing is measured just the same."""
    async with GatewayProcess({"GATEWAY_RETENTION": "off"}, "--dev") as gateway:
        assert (await figures(gateway.url, "--to", "topic"))["deliveries"]["count"] == 6 * EVENTS


async def test_only_broadcast_reaches_real_users() -> None:
    """A user of the gateway gets nothing of a run, unless it broadcasts."""
    async with GatewayProcess({}, "--dev") as gateway, Stream(gateway.url, "user=alice") as alice:
        await bench(gateway.url)
        await bench(gateway.url, "--to", "topic")
        assert alice.events == []
        await bench(gateway.url, "--to", "broadcast")
        await alice.count(EVENTS + 1)
        assert set(alice.types) == {"bench.tick"}


async def test_two_runs_at_once() -> None:
    """Runs do not count each other's events, though their users have the same names."""
    async with GatewayProcess({}, "--dev") as gateway:
        runs = await asyncio.gather(*(figures(gateway.url, "--to", "broadcast") for _ in range(2)))
    for found in runs:
        assert found["deliveries"]["count"] == 6 * EVENTS


async def test_over_redis(pair: Pair) -> None:
    """Streams at one gateway, publishing at another."""
    found = await figures(pair.one.url, "--publish-url", pair.two.url)
    assert found["deliveries"]["count"] == EVENTS


# --- tokens and keys


async def test_secrets_from_files(tmp_path: Path) -> None:
    """In production it makes its tokens, and shows a publish key, from files as a gateway would read them."""
    secret, key = tmp_path / "secret", tmp_path / "key"
    secret.write_text(SECRET + "\n")
    key.write_text(KEYS["users"] + "\n")
    async with GatewayProcess(PRODUCTION) as gateway:
        found = await figures(gateway.url, GATEWAY_JWT_SECRET_FILE=str(secret), GATEWAY_PUBLISHER_KEY_FILE=str(key))
    assert found["deliveries"]["count"] == EVENTS


@pytest.mark.parametrize("to", ["topic", "broadcast"])
async def test_secrets_as_flags(to: str) -> None:
    """A token that is made for a run may read the run's topic."""
    async with GatewayProcess(PRODUCTION) as gateway:
        flags = ["--jwt-secret", SECRET, "--publish-key", KEYS["all"], "--to", to]
        assert (await figures(gateway.url, *flags))["deliveries"]["count"] == 6 * EVENTS


async def test_one_token(tmp_path: Path) -> None:
    """With one token all streams are its user's, who gets every event on each."""
    made = await gateway_command("token", "--user", "42", env=PRODUCTION)
    file = tmp_path / "token"
    file.write_text(made.out)
    async with GatewayProcess(PRODUCTION) as gateway:
        for flags in (["--token", made.out.strip()], ["--token-file", str(file)]):
            found = await figures(gateway.url, *flags, "--publish-key", KEYS["users"])
            assert found["deliveries"]["count"] == 6 * EVENTS


async def test_refused_subscriber() -> None:
    """Without a token, or with one that does not verify, one line says how to give one."""
    hint = "; give --token, or the gateway's secret with --jwt-secret or GATEWAY_JWT_SECRET"
    async with GatewayProcess(PRODUCTION) as gateway:
        line = await refused(gateway.url, "--publish-key", KEYS["all"])
        assert line.startswith("401 Authentication is required: send a token")
        assert line.endswith(hint)
        line = await refused(gateway.url, "--publish-key", KEYS["all"], "--jwt-secret", "x" * 32)
        assert line.startswith("401 Authentication is required: the token's signature does not verify")
        assert line.endswith(hint)


async def test_a_token_that_may_not_read_the_topic() -> None:
    """A token that was given and lacks the run's topic is told what it would need."""
    made = await gateway_command("token", "--user", "42", env=PRODUCTION)
    async with GatewayProcess(PRODUCTION) as gateway:
        flags = ["--token", made.out.strip(), "--publish-key", KEYS["all"], "--to", "topic"]
        line = await refused(gateway.url, *flags)
        assert line.startswith("403 Not allowed: ")
        assert line.endswith("; give a --token that may (topics: bench.*), or take another --to")
        made = await gateway_command("token", "--user", "42", "--topics", "bench.*", env=PRODUCTION)
        flags[1] = made.out.strip()
        assert (await figures(gateway.url, *flags))["deliveries"]["count"] == 6 * EVENTS


async def test_refused_publisher() -> None:
    """Without a key, with a wrong one, or with one that may not publish there, one line says what is needed."""
    async with GatewayProcess(PRODUCTION) as gateway:
        for flags, why in (([], "send a publish key"), (["--publish-key", "hunter2-and-wrong"], "what was sent as ")):
            line = await refused(gateway.url, *flags, GATEWAY_JWT_SECRET=SECRET)
            assert line.startswith(f"401 {why}")
            assert line.endswith("; give a key with --publish-key or GATEWAY_PUBLISHER_KEY")
        for to, scope in (("topic", "topic:bench.*"), ("broadcast", "broadcast")):
            flags = ["--publish-key", KEYS["users"], "--to", to]
            line = await refused(gateway.url, *flags, GATEWAY_JWT_SECRET=SECRET)
            assert line.startswith("403 'users' may not publish to ")
            assert line.endswith(f"; give a --publish-key with the scope {scope}, or take another --to")


# --- what goes wrong on the way


async def test_no_room_for_all() -> None:
    """Streams that a gateway has no room for are told with its reason; the others are measured."""
    async with GatewayProcess({"GATEWAY_MAX_CONNECTIONS": "4"}, "--dev") as gateway:
        found = await figures(gateway.url, status=1)
        outcome = await bench(gateway.url)
    assert found["connections"] | {"per_second": 0} == {
        "asked": 6, "opened": 4, "errors": 2, "ended_early": 0, "per_second": 0
    }  # fmt: skip
    assert (found["deliveries"]["count"], found["deliveries"]["lost"]) == (EVENTS, 0)
    assert outcome.status == 1
    assert row(outcome.out, "connection errors") == "2"
    assert "gateway: 2 of 6 connections were not opened; 2 of them: 503 No room for another stream: " in outcome.err
    assert outcome.err.endswith("; raise GATEWAY_MAX_CONNECTIONS there\n")


async def test_a_gateway_that_drains() -> None:
    """A run ends with its last stream, and tells that they ended and what the gateway said."""
    async with GatewayProcess({"GATEWAY_DRAIN_SECONDS": "0"}, "--dev") as gateway:
        running = asyncio.create_task(figures(gateway.url, "--seconds", "1000", status=1))
        await until(lambda: _all_served(gateway), what="the run is under way")
        gateway.terminate()
        found = await running
    assert found["connections"]["ended_early"] == 6
    assert found["deliveries"]["told"] == {"gateway.reconnect": 6}
    assert found["deliveries"]["lost"] == 0


async def test_interrupted() -> None:
    """Ctrl-C ends the publishing, and what was measured is told."""
    async with GatewayProcess({}, "--dev") as gateway:
        running = await started(gateway.url, "--json", *SHORT, "--seconds", "1000")
        await until(lambda: _all_served(gateway), what="the run is under way")
        running.send_signal(signal.SIGINT)
        out, err = await running.communicate()
    assert running.returncode == 0, err
    found = json.loads(out)
    assert 0 < found["published"]["sent"] < found["published"]["asked"]
    assert found["deliveries"]["count"] == found["published"]["accepted"]


async def test_interrupted_before_there_is_anything() -> None:
    """Ctrl-C ends a run that has not begun without a word, with the status a shell expects."""
    reached = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, HOST, 0) as server:
        running = await started(f"http://{HOST}:{server.sockets[0].getsockname()[1]}")
        async with asyncio.timeout(20):
            await reached.wait()
            running.send_signal(signal.SIGINT)
            assert await running.communicate() == (b"", b"")
    assert running.returncode == 130


async def started(url: str, *flags: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "bench", "--url", url, *flags),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


async def _all_served(gateway: GatewayProcess) -> bool:
    """Whether so many events were delivered that every stream of the run has had one."""
    async with aiohttp.ClientSession() as http, http.get(f"{gateway.url}/metrics") as response:
        lines = (await response.text()).splitlines()
    name = "gateway_events_delivered_total "
    return any(float(line.removeprefix(name)) >= EVENTS for line in lines if line.startswith(name))


async def test_a_broker_that_is_away(prefix: str) -> None:
    """A gateway that cannot publish is told in its own words."""
    settings = over(f"redis://{HOST}:{free_port()}", prefix)
    async with GatewayProcess(settings, "--dev", wait_for="/livez") as gateway:
        line = await refused(gateway.url)
    assert line.startswith("503 ")
