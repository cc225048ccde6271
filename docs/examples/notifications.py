"""Notifications in a FastAPI backend, as in production: a token in a cookie, and a publisher that never blocks.

    export GATEWAY_JWT_SECRET=$(openssl rand -hex 32) GATEWAY_PUBLISH_KEYS=$(openssl rand -hex 24)
    gateway serve &
    export GATEWAY_PUBLISHER_URL=http://127.0.0.1:8080 GATEWAY_PUBLISHER_KEY=$GATEWAY_PUBLISH_KEYS
    pip install fastapi uvicorn
    uvicorn --app-dir docs/examples notifications:app --port 8000

The gateway and this backend are one site to the browser: behind one nginx, `/v1/events` goes to the gateway and all
else here. Then the page needs one line: `new EventSource("/v1/events")`, and the cookie is sent by itself.
"""

from __future__ import annotations

import os
import time
from typing import Annotated

import jwt
from fastapi import Cookie, FastAPI, HTTPException, Response

from gateway.client import SSEEvent, get_sse_publisher

TOKEN_SECONDS = 3600

app = FastAPI()
publisher = get_sse_publisher()  # GATEWAY_PUBLISHER_URL and GATEWAY_PUBLISHER_KEY
orders: dict[int, str] = {}


@app.post("/login/{user}")
async def login(user: str, response: Response) -> dict[str, str]:
    """Where your own login succeeds, give the browser a token for the gateway as well."""
    claims = {"sub": user, "exp": int(time.time()) + TOKEN_SECONDS, "topics": ["prices.*"]}
    token = jwt.encode(claims, os.environ["GATEWAY_JWT_SECRET"], algorithm="HS256")
    flags = {"max_age": TOKEN_SECONDS, "httponly": True, "secure": True, "path": "/"}
    response.set_cookie("gateway_token", token, samesite="lax", **flags)  # type: ignore[arg-type]
    response.set_cookie("session", user, httponly=True, samesite="lax")  # yours is a better one
    return {"user": user}


@app.post("/orders/{number}", status_code=201)
async def order(number: int, session: Annotated[str | None, Cookie()] = None) -> dict[str, int]:
    if session is None:
        raise HTTPException(401, "log in first")
    orders[number] = session
    await publisher.publish_to_user(session, SSEEvent("order.placed", data={"order": number}))
    return {"order": number}


@app.post("/orders/{number}/shipped", status_code=202)
async def shipped(number: int) -> dict[str, int]:
    """Called by the warehouse. Sent twice, the customer hears of it once: the event has an id."""
    if number not in orders:
        raise HTTPException(404, "no such order")
    event = SSEEvent("order.shipped", data={"order": number}, id=f"order-{number}-shipped")
    await publisher.publish_to_user(orders[number], event)
    return {"order": number}
