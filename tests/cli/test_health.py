"""`gateway health`, as a container's health check runs it: beside a real gateway, with the same settings."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from integration.helping import quiet_environment
from servers import GatewayProcess, free_port
from web.inprocess import served

from gateway.cli import main


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    quiet_environment(monkeypatch)


async def health(*flags: str) -> int:
    return await asyncio.to_thread(main, ["health", *flags])


async def test_a_gateway_that_is_well(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """0, and a word; by the settings of the environment, where it may be told to listen everywhere."""
    async with served() as gateway:
        assert await health("--port", str(gateway.port)) == 0
        assert capsys.readouterr().out == "alive\n"
        monkeypatch.setenv("GATEWAY_PORT", str(gateway.port))
        monkeypatch.setenv("GATEWAY_HOST", "0.0.0.0")
        assert await health("--ready") == 0
        assert capsys.readouterr().out == "ready\n"


async def test_one_that_takes_no_streams_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    """Without its broker, and draining, it is not ready, and lives."""
    nowhere = {"GATEWAY_BROKER_URL": f"redis://127.0.0.1:{free_port()}", "GATEWAY_DRAIN_SECONDS": "0"}
    secrets = {"GATEWAY_JWT_SECRET": "s" * 32, "GATEWAY_PUBLISH_KEYS": "key"}
    async with GatewayProcess(nowhere | secrets, wait_for="/livez") as gateway:
        at = ("--port", str(gateway.port))
        assert await health(*at) == 0
        assert await health("--ready", *at) == 1
        assert capsys.readouterr().err.startswith("gateway: /readyz says 503: broker: ")
        assert await health("--ready", "--json", *at) == 1
        assert json.loads(capsys.readouterr().out)["status"] == "unavailable"
        gateway.terminate()
        await gateway.wait()
        assert await health(*at) == 1
        assert f"no answer from 127.0.0.1:{gateway.port}: " in capsys.readouterr().err


Answer = Callable[[socket.socket], None]


@contextmanager
def something_else(answer: Answer) -> Iterator[str]:
    """A server of one connection; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with listener.accept()[0] as client:
                client.recv(65_536)
                answer(client)

        thread = threading.Thread(target=serve)
        thread.start()
        yield str(listener.getsockname()[1])
        thread.join()


def hang_on(client: socket.socket) -> None:
    """Until the other side has had enough."""
    assert client.recv(1) == b""


def test_one_that_hangs_is_not_waited_for(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Who takes the question and does not answer it is not alive."""
    monkeypatch.setattr("gateway.cli.health.WITHIN", 0.2)
    with something_else(hang_on) as port:
        assert main(["health", "--port", port]) == 1
    assert "timed out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"SSH-2.0\r\n", "no answer from 127.0.0.1:"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope", "/livez says 404: nope"),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\n[]", "/livez says 503: []"),
    ],
)
def test_what_answers_may_be_something_else(answer: bytes, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is on the port instead is no gateway that is well."""
    with something_else(lambda client: client.sendall(answer)) as port:
        assert main(["health", "--port", port]) == 1
    assert capsys.readouterr().err.startswith(f"gateway: {said}")


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="there is no prlimit")
async def test_it_takes_all_descriptors_it_may_have() -> None:
    """`gateway serve` raises its soft limit to the hard one, and says how many there are."""
    settings = {"GATEWAY_JWT_SECRET": "s" * 32, "GATEWAY_PUBLISH_KEYS": "key"}
    async with GatewayProcess(settings, before=("prlimit", "--nofile=300:700")) as gateway:
        (line,) = [line for line in gateway.log.splitlines() if "gateway.listening" in line]
        assert json.loads(line)["descriptors"] == 700
