"""A chat: a room is a topic, what is said is an event. Pages hear the gateway, and speak to this program.

    GATEWAY_CORS_ORIGINS=http://127.0.0.1:8000 make run
    python docs/examples/chat.py        # http://127.0.0.1:8000, in as many windows as you like

In development mode the gateway believes who a page says it is. In production this program would give it a token
whose `topics` are the rooms that the user may enter.
"""

from __future__ import annotations

import os

import aiohttp
from aiohttp import web

GATEWAY = os.environ.get("GATEWAY", "http://127.0.0.1:8080")
PORT = int(os.environ.get("PORT", "8000"))

PAGE = """<!doctype html>
<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Chat</title>
<style>
  body { font: 16px system-ui; max-width: 40rem; margin: 2rem auto; padding: 0 1rem }
  .gap { color: #a50 }
</style>
<h1>Room <span id="room"></span></h1>
<p id="state">connecting</p>
<ul id="said"></ul>
<form id="say"><input name="text" autocomplete="off" autofocus placeholder="say something"> <button>Say</button></form>
<script type="module">
  import { connect } from "GATEWAY/client.js";

  const room = location.hash.slice(1) || "lobby";
  const name = (sessionStorage.name ||= prompt("Your name?") || "nobody");
  const show = (text, css = "") => {
    const item = document.createElement("li");
    item.className = css;
    item.textContent = text;
    document.getElementById("said").append(item);
  };
  document.getElementById("room").textContent = room;

  const connection = connect(`GATEWAY/v1/events?user=${encodeURIComponent(name)}`, {
    topics: [`chat.${room}`], lastEventId: "earliest", shared: name,
  });
  connection.on("chat.said", ({ data }) => show(`${data.name}: ${data.text}`));
  connection.onGap(() => show("something was said that is not kept any more", "gap"));
  connection.onState((state) => { document.getElementById("state").textContent = state; });

  document.getElementById("say").addEventListener("submit", async (event) => {
    event.preventDefault();
    const text = event.target.text.value;
    event.target.reset();
    await fetch(`/say/${room}`, { method: "POST", body: JSON.stringify({ name, text }) });
  });
</script>
"""


async def page(request: web.Request) -> web.Response:
    return web.Response(text=PAGE.replace("GATEWAY", GATEWAY), content_type="text/html")


async def say(request: web.Request) -> web.Response:
    """Hand on what somebody says. The gateway checks the room's name, and that the event is one."""
    said = await request.json()
    event = {"event_type": "chat.said", "data": {"name": str(said["name"]), "text": str(said["text"])[:500]}}
    url = f"{GATEWAY}/v1/topics/chat.{request.match_info['room']}/events"
    async with aiohttp.ClientSession() as http, http.post(url, json=event) as answer:
        return web.Response(status=answer.status, body=await answer.read())


def main() -> None:
    app = web.Application()
    app.add_routes([web.get("/", page), web.post("/say/{room}", say)])
    web.run_app(app, host="127.0.0.1", port=PORT)


if __name__ == "__main__":
    main()
