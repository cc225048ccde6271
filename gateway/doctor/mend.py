"""What mends each finding: the line, and where it goes. For nginx as shipped in deploy/nginx, and for others."""

from __future__ import annotations

_STREAMS = "in `location = /v1/events`"

BUFFERING = (
    f"nginx, {_STREAMS}: proxy_buffering off; proxy_cache off;",
    'nginx, there too: proxy_http_version 1.1; proxy_set_header Connection "";',
    "nginx: no `proxy_ignore_headers X-Accel-Buffering` anywhere",
    "Apache: `flushpackets=on` in ProxyPass. A CDN: no caching and no transformation of this path, or go around it",
)
GZIP = (
    f'nginx, {_STREAMS}: gzip off; proxy_set_header Accept-Encoding "";',
    "nginx: or take text/event-stream, and *, out of gzip_types and brotli_types",
    "Apache: SetEnv no-gzip 1. Traefik: excludedContentTypes: [text/event-stream]. Envoy: no compressor on the route",
)
ACCEL = (f"nginx, {_STREAMS}: proxy_pass_header X-Accel-Buffering;",)
CACHE = (
    f"nginx, {_STREAMS}: proxy_cache off; and neither `expires` nor `add_header Cache-Control`",
    "a CDN: respect the origin's Cache-Control: no-store",
)
VERSION = (f"nginx, {_STREAMS}: proxy_http_version 1.1;",)
SILENCE = (
    f"nginx, {_STREAMS}: proxy_read_timeout 65s; (four heartbeats, and longer than a poll)",
    "HAProxy: timeout server 45s, timeout client 45s. AWS: the load balancer's idle timeout 60 s. "
    "Envoy: stream_idle_timeout: 45s",
    "or, at the gateway, more heartbeats: GATEWAY_HEARTBEAT_INTERVAL, a third of what the proxy waits",
)
LIMIT = (
    f"nginx, {_STREAMS}: proxy_read_timeout 65s; which counts silence only",
    "Envoy: timeout: 0s of the route. Google Cloud: timeoutSec: 86400 of the backend service. "
    "Traefik: respondingTimeouts.writeTimeout: 0",
)
HEARTBEAT = ("at the gateway: GATEWAY_HEARTBEAT_INTERVAL=15, less than what proxies and clients wait",)
DEAF = (
    "ask each process for /readyz: one that says `broker: …` has lost its link to Redis",
    "ask Redis: CLIENT LIST TYPE pubsub has a line for each process that listens",
    "at all processes the same GATEWAY_BROKER_URL and GATEWAY_CHANNEL_PREFIX",
)
NOWHERE = ("publish to the deployment that is listened to: is --internal of the same one?",)
CURSOR = (
    f"nginx, {_STREAMS}: proxy_pass_request_headers on; and no proxy_set_header Last-Event-ID",
    "a CDN: forward the header Last-Event-ID",
)
HISTORY = (
    "at all processes the same GATEWAY_BROKER_URL, GATEWAY_CHANNEL_PREFIX and GATEWAY_RETENTION",
    "GATEWAY_RETENTION_MAX_EVENTS and GATEWAY_RETENTION_TTL large enough. Redis: maxmemory-policy noeviction",
)
CLOCK = ("chrony or systemd-timesyncd on that machine: tokens are judged by its clock",)
TLS = ("nginx: listen 443 ssl; ssl_certificate …; ssl_certificate_key …; as in deploy/nginx/tls",)
HTTP2 = (
    "nginx: listen 443 ssl http2;",
    "or let all tabs of a browser share a stream, as /client.js does: over HTTP/1.1 they have six connections in all",
)
LIFETIME = ("issue tokens that live for some minutes: each end is a reconnect, and a call for a new token",)
METRICS = ("at the gateway: GATEWAY_INTERNAL_PORT=9090, and the proxy in front of GATEWAY_PORT only",)


def cors(origin: str) -> tuple[str, ...]:
    return (
        f"at the gateway: GATEWAY_CORS_ORIGINS={origin} (several with commas between)",
        f"nginx, {_STREAMS}: limit_except GET OPTIONS {{ deny all; }} since a preflight is an OPTIONS",
        f"nginx, in `map $http_origin $gateway_cors_origin`: {origin} $http_origin; for the answers that are its own",
    )
