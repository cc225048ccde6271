"""The examples run, against a real gateway, and do what they show."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http.cookies import SimpleCookie

import aiohttp
import pytest
from servers import HOST, ROOT, GatewayProcess, free_port, until
from streams import Stream
from web.inprocess import SECRET

EXAMPLES = ROOT / "docs" / "examples"
PUBLISH_KEY = "a-publish-key-of-the-examples"


@asynccontextmanager
async def running(*command: str, port: int, env: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientSession]:
    """An example in a process of its own; a session whose base it is."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        cwd=ROOT,
        env=inherited | dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        async with aiohttp.ClientSession(f"http://{HOST}:{port}", cookie_jar=aiohttp.DummyCookieJar()) as http:

            async def answers() -> bool:
                try:
                    async with http.get("/nothing"):
                        return True
                except aiohttp.ClientError:
                    return False

            await until(answers, within=60, what=f"{command} answers")
            yield http
    finally:
        process.terminate()
        said, _ = await process.communicate()
        print(said.decode())  # shown when the test fails


async def test_what_is_said_in_a_room_is_heard_there() -> None:
    """By those who came before, and by those who come later; not in other rooms."""
    port = free_port()
    origin = f"http://{HOST}:{port}"
    async with (
        GatewayProcess({"GATEWAY_CORS_ORIGINS": origin}, "--dev") as gateway,
        running(str(EXAMPLES / "chat.py"), port=port, env={"GATEWAY": gateway.url, "PORT": str(port)}) as chat,
        Stream(gateway.url, "user=ann&topic=chat.lobby") as lobby,
        Stream(gateway.url, "user=bob&topic=chat.cellar") as cellar,
    ):
        async with chat.get("/") as page:
            text = await page.text()
            assert f'from "{gateway.url}/client.js"' in text
        client = f"{gateway.url}/client.js"
        async with aiohttp.ClientSession() as http, http.get(client, headers={"Origin": origin}) as response:
            assert response.headers["Access-Control-Allow-Origin"] == origin
        async with chat.post("/say/lobby", json={"name": "ann", "text": "<b>hello</b>"}) as answer:
            assert answer.status == 202
        async with chat.post("/say/no%20room", json={"name": "ann", "text": "?"}) as answer:
            assert answer.status == 400
        await until(lambda: lobby.events)
        assert json.loads(lobby.events[0].data) == {"name": "ann", "text": "<b>hello</b>"}
        async with Stream(gateway.url, "user=late&topic=chat.lobby&last_event_id=earliest") as late:
            await until(lambda: late.events)
        assert not cellar.events


async def test_whoever_comes_late_is_told_where_a_job_is_and_not_how_it_got_there() -> None:
    """All steps live, and the last of them afterwards."""
    port, steps = free_port(), 5
    env = {"PORT": str(port), "STEPS": str(steps)}
    async with (
        GatewayProcess({}, "--dev") as gateway,
        running(str(EXAMPLES / "progress.py"), port=port, env=env | {"GATEWAY": gateway.url}) as worker,
        Stream(gateway.url, "user=alice") as live,
    ):
        async with worker.post("/start") as answer:
            job = (await answer.json())["job"]
        await until(lambda: len(live.events) == steps + 1)
        assert [json.loads(event.data)["done"] for event in live.events] == list(range(steps + 1))
        async with Stream(gateway.url, "user=alice&last_event_id=earliest") as late:
            await until(lambda: late.events)
            assert [json.loads(event.data) for event in late.events] == [{"job": job, "done": steps, "of": steps}]


async def test_a_backend_notifies_who_logged_in() -> None:
    """By a cookie that opens the stream; and once, however often it is told the same."""
    pytest.importorskip("fastapi", reason="FastAPI is not installed")
    port = free_port()
    settings = {"GATEWAY_JWT_SECRET": SECRET, "GATEWAY_PUBLISH_KEYS": PUBLISH_KEY}
    command = ("-m", "uvicorn", "--app-dir", str(EXAMPLES), "notifications:app", "--host", HOST, "--port", str(port))
    async with GatewayProcess(settings) as gateway:
        env = {
            "GATEWAY_JWT_SECRET": SECRET,
            "GATEWAY_PUBLISHER_URL": gateway.url,
            "GATEWAY_PUBLISHER_KEY": PUBLISH_KEY,
        }
        async with running(*command, port=port, env=env) as backend:
            async with backend.post("/login/alice") as answer:
                cookies = SimpleCookie("; ".join(answer.headers.getall("Set-Cookie")))
                token, session = cookies["gateway_token"].value, cookies["session"].value
                flags = answer.headers.getall("Set-Cookie")[0].lower()
                assert all(flag in flags for flag in ("httponly", "secure", "samesite=lax"))
            async with Stream(gateway.url, headers={"Cookie": f"gateway_token={token}"}) as stream:
                async with backend.post("/orders/7", headers={"Cookie": f"session={session}"}) as answer:
                    assert answer.status == 201
                for _ in range(2):
                    async with backend.post("/orders/7/shipped") as answer:
                        assert answer.status == 202
                async with backend.post("/orders/8", headers={"Cookie": f"session={session}"}) as answer:
                    assert answer.status == 201
                await until(lambda: len(stream.events) >= 3)
                heard = [(event.type, json.loads(event.data)["order"]) for event in stream.events]
                assert heard == [("order.placed", 7), ("order.shipped", 7), ("order.placed", 8)]
