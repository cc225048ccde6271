"""Below HTTP: names, connections, certificates, and whether secrets can be read on the way."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from ipaddress import ip_address

from ..client.address import unreachable
from . import mend
from .deployment import Deployment
from .report import CannotExamine, Check, finding, hint, ok
from .watch import now

CONNECTS_WITHIN = 5.0
MOST_ADDRESSES = 8
CERTIFICATE_DAYS = 14


async def examine(deployment: Deployment) -> list[Check]:
    """Raises `CannotExamine` when nobody can be reached."""
    port = int(deployment.url.port or 0)
    addresses = await _resolved(deployment.host, port)
    times, failures = [], []
    for where in addresses:
        try:
            times.append(await _connect(where, port))
        except OSError as error:
            failures.append(f"{where}: {unreachable(error)}")
    if not times:
        raise CannotExamine(
            f"{deployment.base}: {failures[0].partition(': ')[2]}; is the port right, and is the gateway (or the "
            "proxy before it) running? `gateway serve --dev` starts one"
        )
    which = "" if addresses == [deployment.host] else f"{deployment.host} is {', '.join(addresses)}; "
    reached = ok("reach", f"{which}connected in {1000 * max(times):.0f} ms")
    if failures:
        reached = finding("reach", f"some addresses of {deployment.host} cannot be reached: {'; '.join(failures)}",
                          "take the address out of DNS, or start what is to listen there")  # fmt: skip
    return [reached, *(await _tls(deployment, port))]


async def _resolved(host: str, port: int) -> list[str]:
    try:
        async with asyncio.timeout(CONNECTS_WITHIN):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise CannotExamine(f"the name {host} is not known here ({error.strerror}); is it spelt right?") from None
    except TimeoutError:
        raise CannotExamine(f"the name {host} was not resolved within {CONNECTS_WITHIN:g} s") from None
    return list(dict.fromkeys(str(where[4][0]) for where in found))[:MOST_ADDRESSES]


async def _connect(where: str, port: int) -> float:
    """Seconds until the connection was made."""
    began = now()
    try:
        async with asyncio.timeout(CONNECTS_WITHIN):
            _, writer = await asyncio.open_connection(where, port)
    except TimeoutError:
        raise TimeoutError(0, f"no answer within {CONNECTS_WITHIN:g} s") from None
    took = now() - began
    writer.close()
    return took


async def _tls(deployment: Deployment, port: int) -> list[Check]:
    if deployment.url.scheme == "http":
        return [_plain(deployment.host)]
    context = ssl.create_default_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    began = now()
    try:
        async with asyncio.timeout(CONNECTS_WITHIN):
            _, writer = await asyncio.open_connection(deployment.host, port, ssl=context)
    except TimeoutError:
        raise CannotExamine(f"{deployment.base}: no TLS handshake within {CONNECTS_WITHIN:g} s") from None
    except ssl.SSLCertVerificationError as error:
        raise CannotExamine(
            f"{deployment.base}: {unreachable(error)}; renew it, or name the authority that signed it in SSL_CERT_FILE"
        ) from None
    except OSError as error:
        raise CannotExamine(f"{deployment.base}: {unreachable(error)}; is it HTTPS that is spoken there?") from None
    took = now() - began
    tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
    days = _days_left(tls)
    says = f"{tls.version()} in {1000 * took:.0f} ms; the certificate is good for {days:.0f} days"
    http2 = tls.selected_alpn_protocol() == "h2"
    writer.close()
    checks = [
        ok("tls", says) if days > CERTIFICATE_DAYS else hint("tls", says, "renew it, and have it renewed by itself")
    ]
    if http2:
        checks.append(ok("http2", "HTTP/2 is offered: all tabs of a browser share a connection"))
    else:
        checks.append(hint("http2", "only HTTP/1.1 is offered", *mend.HTTP2))
    return checks


def _days_left(tls: ssl.SSLObject) -> float:
    certificate = tls.getpeercert() or {}
    return (ssl.cert_time_to_seconds(str(certificate["notAfter"])) - time.time()) / 86_400


def _plain(host: str) -> Check:
    if _is_local(host):
        return ok("tls", "plain HTTP, within this machine")
    return finding("tls", "plain HTTP: tokens and keys can be read on the way", *mend.TLS)


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
