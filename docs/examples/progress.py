"""Progress bars: a worker publishes how far it is, the page of whoever gave it the work shows it.

    GATEWAY_CORS_ORIGINS=http://127.0.0.1:8000 make run
    python docs/examples/progress.py    # http://127.0.0.1:8000; reload the page in the middle of the work

All events of a job have its name as their `key`: of those only the newest is replayed. So a page that comes late, or
comes back, is told where each job is, and not how it got there.
"""

from __future__ import annotations

import asyncio
import itertools
import os

from aiohttp import web

from gateway.client import SSEEvent, get_sse_publisher

GATEWAY = os.environ.get("GATEWAY", "http://127.0.0.1:8080")
PORT = int(os.environ.get("PORT", "8000"))
STEPS = int(os.environ.get("STEPS", "50"))

PAGE = """<!doctype html>
<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Progress</title>
<style>body{font:16px system-ui;max-width:40rem;margin:2rem auto;padding:0 1rem} progress{width:100%}</style>
<h1>Jobs</h1>
<button id="start">Start one</button>
<div id="jobs"></div>
<script type="module">
  import { connect } from "GATEWAY/client.js";

  const connection = connect("GATEWAY/v1/events?user=alice", { lastEventId: "earliest", shared: "alice" });
  connection.on("job.progress", ({ data }) => {
    let bar = document.getElementById(data.job);
    if (!bar) {
      bar = Object.assign(document.createElement("progress"), { id: data.job });
      document.getElementById("jobs").append(data.job, bar);
    }
    bar.max = data.of;
    bar.value = data.done;
  });
  document.getElementById("start").addEventListener("click", () => fetch("/start", { method: "POST" }));
</script>
"""

publisher = get_sse_publisher(os.environ.get("GATEWAY_PUBLISHER_URL", GATEWAY))
numbers = itertools.count(1)
work: set[asyncio.Task[None]] = set()


async def do(job: str) -> None:
    """The work. Telling about it never fails and never waits for longer than a second, whatever the gateway does."""
    for done in range(STEPS + 1):
        progress = {"job": job, "done": done, "of": STEPS}
        await publisher.publish_to_user("alice", SSEEvent("job.progress", data=progress, key=job))
        await asyncio.sleep(0.1)


async def page(request: web.Request) -> web.Response:
    return web.Response(text=PAGE.replace("GATEWAY", GATEWAY), content_type="text/html")


async def start(request: web.Request) -> web.Response:
    job = f"job-{os.getpid()}-{next(numbers)}"
    task = asyncio.create_task(do(job))
    work.add(task)
    task.add_done_callback(work.discard)
    return web.json_response({"job": job}, status=202)


def main() -> None:
    app = web.Application()
    app.add_routes([web.get("/", page), web.post("/start", start)])
    web.run_app(app, host="127.0.0.1", port=PORT)


if __name__ == "__main__":
    main()
