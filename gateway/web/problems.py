"""Errors -> RFC 9457 `application/problem+json`, in this one place. No traceback leaves the process."""

from __future__ import annotations

import json
import math
from http import HTTPStatus

import structlog
from aiohttp import HttpVersion10, web
from aiohttp.typedefs import Handler

from ..errors import GatewayError, InvalidRequest, NotAuthenticated, RateLimited, TooLarge, TooSlow
from . import cors, request_ids
from .context import GATEWAY

log = structlog.get_logger(__name__)


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Render whatever a handler raises; what was not foreseen is logged, and is a plain 500 outside."""
    if request.version < HttpVersion10:  # a request line without a version: aiohttp takes it for HTTP/0.9
        return problem(InvalidRequest("the request line must end in HTTP/1.1 (or HTTP/1.0)"), request_ids.of(request))
    try:
        return await handler(request)
    except GatewayError as error:
        return problem(error, request_ids.of(request))
    except web.HTTPRequestEntityTooLarge as error:
        return problem(TooLarge(error.text or "the body is over GATEWAY_MAX_BODY_BYTES"), request_ids.of(request))
    except web.HTTPException as error:
        if error.status < 400:
            raise
        refusal = cors.refused(request, error)
        if refusal is None:
            return _of_http(error, request_ids.of(request))
        return problem(refusal, request_ids.of(request))
    except ConnectionResetError:  # raised on, aiohttp would log each as an error with a traceback
        return web.Response(status=499, reason="Client Closed Request")
    except Exception:
        request.app[GATEWAY].metrics.unexpected_errors.inc()
        request_id = request_ids.of(request)
        log.exception("http.unexpected_error", method=request.method, route=_route(request), request_id=request_id)
        return problem(GatewayError("the gateway's log says more"), request_id)


def problem(error: GatewayError, request_id: str | None = None) -> web.Response:
    """The error as a response; `request_id` is None where there was no request that could be read."""
    body: dict[str, object] = {
        "type": f"urn:event-gateway:problem:{error.slug}",
        "title": error.title,
        "status": error.status,
    }
    if error.detail:
        body["detail"] = error.detail
    if error.field is not None:
        body["field"] = error.field
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after))
    if isinstance(error, NotAuthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, RateLimited):
        headers.update(error.headers)
    response = _response(error.status, body, headers, request_id)
    if isinstance(error, TooSlow):
        response.force_close()  # what still comes would be taken for the next request
    return response


def _of_http(error: web.HTTPException, request_id: str) -> web.Response:
    """aiohttp's own refusals: no such path, no such method, an unreadable request."""
    headers = {name: error.headers[name] for name in ("Allow", "Retry-After") if name in error.headers}
    body: dict[str, object] = {"type": "about:blank", "title": HTTPStatus(error.status).phrase, "status": error.status}
    return _response(error.status, body, headers, request_id)


def _response(status: int, body: dict[str, object], headers: dict[str, str], request_id: str | None) -> web.Response:
    if request_id is not None:
        body["instance"] = f"urn:event-gateway:request:{request_id}"
    return web.Response(
        status=status,
        text=json.dumps(body, ensure_ascii=True),
        content_type="application/problem+json",
        headers={"Cache-Control": "no-store", **headers},
    )


def _route(request: web.Request) -> str | None:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else None
