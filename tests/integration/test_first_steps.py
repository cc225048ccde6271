"""What somebody does first: the lines of the README, those that `serve --dev` prints, the commands, in that order."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from integration.helping import command, gateway_command, over, post
from servers import ROOT, GatewayProcess, until
from streams import Stream

SECRET = "a-secret-of-the-tests-that-is-long-enough"
KEY = "a-key-of-the-tests"
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def at(line: str, gateway: GatewayProcess) -> str:
    """The line, for the port that this gateway has."""
    return re.sub(r"(127\.0\.0\.1|localhost):8080", rf"\1:{gateway.port}", line)


@asynccontextmanager
async def listening(line: str, output: Path) -> AsyncIterator[Path]:
    """Run a line that does not end by itself; its output goes to a file."""
    with output.open("wb") as file:
        process = await asyncio.create_subprocess_exec("bash", "-c", f"exec {line}", stdout=file, stderr=file)
    try:
        await until(
            lambda: output.read_text().startswith("retry: ") or output.read_text(), what=f"{line} says something"
        )
        yield output
        assert process.returncode is None, f"{line} ended by itself"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def readme_lines() -> list[str]:
    """The shell lines of "Five lines to try"."""
    text = (ROOT / "README.md").read_text()
    [block] = [block for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if "last_event_id=earliest" in block]
    return [line for line in block.splitlines() if line.strip()]


@needs_curl
async def test_the_readmes_lines_work_as_they_stand(tmp_path: Path) -> None:
    """Listen, publish to the user and to everyone, replay: typed as written, each does what the README says."""
    lines = readme_lines()
    listen, replay = (line for line in lines if line.startswith("curl -N "))
    publish = "\n".join(line for line in lines if not line.startswith("curl -N "))
    async with GatewayProcess({}, "--dev") as gateway, listening(at(listen, gateway), tmp_path / "live") as live:
        status, out, err = await command("bash", "-euc", at(publish, gateway))
        assert status == 0, err
        assert len(re.findall(r'"id": ?"\d+-\d+"', out)) == 3, out
        expected = ['event: greeting\ndata: {"text":"hi"}\n\n', "event: news\ndata: 1\n\n", "event: news\ndata: 2\n\n"]
        await until(lambda: [each for each in expected if each in live.read_text()] == expected)
        async with listening(at(replay, gateway), tmp_path / "replayed") as replayed:
            await until(lambda: [each for each in expected if each in replayed.read_text()] == expected)
            positions = [replayed.read_text().index(each) for each in expected]
            assert positions == sorted(positions)


def printed_commands(text: str) -> list[str]:
    """The commands in what `serve --dev` prints, continuation lines joined."""
    joined = text.replace("\\\n", " ")
    return [line.strip() for line in joined.splitlines() if line.strip().startswith("curl ")]


@needs_curl
async def test_the_lines_that_serve_prints_work(tmp_path: Path) -> None:
    """A development gateway prints two commands, for the port that it has: the first hears the second."""
    async with GatewayProcess({}, "--dev") as gateway:
        await until(lambda: len(printed_commands(gateway.log)) == 2)
        listen, publish = printed_commands(gateway.log)
        assert gateway.url in listen
        assert gateway.url in publish
        async with listening(listen, tmp_path / "heard") as heard:
            status, out, err = await command("bash", "-c", publish)
            assert status == 0, err
            assert '"receivers": 1' in out
            await until(lambda: 'event: greeting\ndata: {"text":"hello"}\n\n' in heard.read_text())


async def test_development_mode_listens_on_loopback_only() -> None:
    """Without tokens nobody from outside may come in."""
    status, _, err = await gateway_command("serve", "--dev", "--host", "0.0.0.0")
    assert status == 2
    assert "GATEWAY_HOST" in err


NEEDED = [
    ({}, ["GATEWAY_JWT_SECRET", "GATEWAY_PUBLISH_KEYS"]),
    ({"GATEWAY_JWT_SECRET": SECRET}, ["GATEWAY_PUBLISH_KEYS"]),
    ({"GATEWAY_JWT_SECRET": "short", "GATEWAY_PUBLISH_KEYS": KEY}, ["GATEWAY_JWT_SECRET"]),
    ({"GATEWAY_JWT_SECRET": SECRET, "GATEWAY_PUBLISH_KEYS": KEY, "GATEWAY_PROT": "80"}, ["GATEWAY_PROT"]),
]


@pytest.mark.parametrize(("settings", "named"), NEEDED)
async def test_serve_refuses_to_start_and_names_the_settings(settings: dict[str, str], named: list[str]) -> None:
    """Without a way to authenticate, or with a setting that is wrong, it ends with status 2 and says which."""
    status, out, err = await gateway_command("serve", env=settings)
    assert status == 2
    assert all(name in err for name in named), err
    assert out == ""
    assert "Traceback" not in err
    assert SECRET not in err
    assert KEY not in err


async def test_a_port_that_is_taken_is_an_error() -> None:
    """Two gateways on one port: the second ends with a line that names the address, and the first goes on."""
    async with GatewayProcess({}, "--dev") as gateway:
        status, _, err = await gateway_command("serve", "--dev", "--port", str(gateway.port))
        assert status == 2
        assert "GATEWAY_PORT" in err
        assert f"127.0.0.1:{gateway.port}" in err
        assert "Traceback" not in err
        assert gateway.running


async def test_production_from_token_to_event(redis_url: str, prefix: str) -> None:
    """With a secret and a key, `gateway token` opens a stream and `gateway publish` is heard on it."""
    settings = over(redis_url, prefix, GATEWAY_JWT_SECRET=SECRET, GATEWAY_PUBLISH_KEYS=KEY)
    async with GatewayProcess(settings) as gateway:
        made = await gateway_command(
            "token", "--user", "42", "--topics", "orders.*", env={"GATEWAY_JWT_SECRET": SECRET}
        )
        assert made.status == 0, made.err
        token = made.out.strip()
        async with Stream(gateway.url, "topic=orders.eu", token=token) as stream:
            publishing = ("publish", "--url", gateway.url, "--type", "order.paid")
            env = {"GATEWAY_PUBLISHER_KEY": KEY}
            for target in (("--user", "42"), ("--broadcast",), ("--topic", "orders.eu")):
                said = await gateway_command(*publishing, *target, '{"order": 7}', env=env)
                assert said.status == 0, said.err
                assert "1 gateway process has somebody online" in said.out
                event = await stream.next()
                assert (event.type, event.data) == ("order.paid", '{"order":7}')
            offline = await gateway_command(*publishing, "--user", "43", "{}", env=env)
            assert "nobody is online" in offline.out
            refused = await gateway_command(*publishing, "--user", "42", "{}", env={"GATEWAY_PUBLISHER_KEY": "wrong"})
            assert refused.status == 1
            assert "401" in refused.err
            await post(
                gateway.url, "/v1/broadcast", {"event_type": "last", "data": 1}, {"Authorization": f"Bearer {KEY}"}
            )
            assert (await stream.next()).type == "last"
        async with aiohttp.ClientSession(gateway.url) as http:
            for query in ("", "?user=42"):
                async with http.get(f"/v1/events{query}") as response:
                    assert response.status == 401
        assert SECRET not in gateway.log
        assert token not in gateway.log
        assert KEY not in gateway.log
        assert "order.paid" not in gateway.log


async def test_secrets_come_from_files(redis_url: str, prefix: str, tmp_path: Path) -> None:
    """As containers are given them: GATEWAY_JWT_SECRET_FILE and GATEWAY_PUBLISH_KEYS_FILE."""
    (tmp_path / "secret").write_text(SECRET + "\n")
    (tmp_path / "keys").write_text(KEY + "\n")
    files = {
        "GATEWAY_JWT_SECRET_FILE": str(tmp_path / "secret"),
        "GATEWAY_PUBLISH_KEYS_FILE": str(tmp_path / "keys"),
    }
    async with GatewayProcess(over(redis_url, prefix) | files) as gateway:
        made = await gateway_command("token", "--user", "42", env={"GATEWAY_JWT_SECRET": SECRET})
        async with Stream(gateway.url, token=made.out.strip()) as stream:
            await post(gateway.url, "/v1/broadcast", {"event_type": "x", "data": 1}, {"Authorization": f"Bearer {KEY}"})
            await stream.next()
