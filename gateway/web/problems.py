"""Errors -> RFC 9457 `application/problem+json`, in this one place. No traceback leaves the process."""

from __future__ import annotations

import json
import math
from http import HTTPStatus

import structlog
from aiohttp import HttpVersion10, web
from aiohttp.typedefs import Handler

from ..errors import GatewayError, InvalidRequest, NotAuthenticated, RateLimited, TooLarge, TooSlow
from . import cors
from .context import GATEWAY

log = structlog.get_logger(__name__)


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Render whatever a handler raises; what was not foreseen is logged, and is a plain 500 outside."""
    if request.version < HttpVersion10:  # a request line without a version: aiohttp takes it for HTTP/0.9
        return problem(InvalidRequest("the request line must end in HTTP/1.1 (or HTTP/1.0)"))
    try:
        return await handler(request)
    except GatewayError as error:
        return problem(error)
    except web.HTTPRequestEntityTooLarge as error:
        return problem(TooLarge(error.text or "the body is over GATEWAY_MAX_BODY_BYTES"))
    except web.HTTPException as error:
        if error.status < 400:
            raise
        refusal = cors.refused(request, error)
        return _of_http(error) if refusal is None else problem(refusal)
    except ConnectionResetError:  # raised on, aiohttp would log each as an error with a traceback
        return web.Response(status=499, reason="Client Closed Request")
    except Exception:
        request.app[GATEWAY].metrics.unexpected_errors.inc()
        log.exception("http.unexpected_error", method=request.method, route=_route(request))
        return problem(GatewayError("the gateway's log says more"))


def problem(error: GatewayError) -> web.Response:
    """The error as a response."""
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
    response = _response(error.status, body, headers)
    if isinstance(error, TooSlow):
        response.force_close()  # what still comes would be taken for the next request
    return response


def _of_http(error: web.HTTPException) -> web.Response:
    """aiohttp's own refusals: no such path, no such method, an unreadable request."""
    headers = {name: error.headers[name] for name in ("Allow", "Retry-After") if name in error.headers}
    body = {"type": "about:blank", "title": HTTPStatus(error.status).phrase, "status": error.status}
    return _response(error.status, body, headers)


def _response(status: int, body: dict[str, object], headers: dict[str, str]) -> web.Response:
    return web.Response(
        status=status,
        text=json.dumps(body, ensure_ascii=True),
        content_type="application/problem+json",
        headers={"Cache-Control": "no-store", **headers},
    )


def _route(request: web.Request) -> str | None:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else None
