"""Who somebody is: tokens, tickets, keys, addresses, and the URLs that hold passwords."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
from collections.abc import Coroutine
from dataclasses import replace
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Any

from auth.signing import SECRET, part
from fuzz.registry import target, text

from gateway.auth import jwks, tickets, token
from gateway.auth.identity import Publisher, Subscriber
from gateway.auth.keyring import FixedKeys
from gateway.auth.keys import of_secret
from gateway.auth.verifier import Verifier
from gateway.broker.redis import urls
from gateway.errors import NotAuthenticated
from gateway.setting_kinds import PUBLISH_KEYS, Refused, hide_password, is_scope
from gateway.web import client_address

LONG = 20
"""Letters of a secret that does not stand in a text by chance."""
TRUSTED = (ip_network("10.0.0.0/8"), ip_network("::1/128"))

_VERIFIER = Verifier(FixedKeys([of_secret(SECRET)]), clock=lambda: 1000.0)
_HS256 = part({"alg": "HS256"})


@target
def compact_token(data: bytes) -> None:
    """A token: refused as such, or in its one spelling; unsigned, none is believed."""
    given = text(data)
    try:
        read = token.read(given)
    except NotAuthenticated as error:
        assert len(given) < 8 or given not in error.detail
        return
    assert given.isascii() and given.count(".") == 2
    assert read.signed.decode() == given.rpartition(".")[0]
    try:
        claims = run(_VERIFIER.claims(given))
    except NotAuthenticated:
        return
    raise AssertionError(f"believed: {claims}")


@target
def signed_claims(data: bytes) -> None:
    """What an issuer signed: claims that hold, or refused; a subscriber and a publisher are made of no others."""
    content = f"{_HS256}.{part(data)}"
    shown = f"{content}.{part(hmac.digest(SECRET.encode(), content.encode(), hashlib.sha256))}"
    try:
        claims = run(_VERIFIER.claims(shown))
    except NotAuthenticated:
        return
    assert isinstance(claims["sub"], str) and claims["exp"] > 1000.0
    with contextlib.suppress(NotAuthenticated):
        subscriber = Subscriber.of(claims)
        assert tickets.read(tickets.written(subscriber), "digest") == replace(subscriber, ticket="digest")
    with contextlib.suppress(NotAuthenticated):
        publisher = Publisher.of(claims)
        assert publisher.name.isascii() and publisher.name.isprintable() and all(map(is_scope, publisher.scopes))


@target
def kept_ticket(data: bytes) -> None:
    """What Redis holds of a ticket: a subscriber, or none."""
    found = tickets.read(data, "digest")
    assert found is None or tickets.read(tickets.written(found), "digest") == found


@target
def jwk_set(data: bytes) -> None:
    """An issuer's answer: keys, or a failed fetch."""
    with contextlib.suppress(jwks.FetchFailed):
        assert jwks.read(data)


@target
def forwarded_for(data: bytes) -> None:
    """X-Forwarded-For, a header a line: an address, and what stands left of the client's changes nothing."""
    lines = data.decode("latin-1").split("\n")
    peer = IPv4Address("10.0.0.1")
    found = client_address._behind(peer, lines, TRUSTED)
    assert ip_address(str(found)) == found
    forged = ["203.0.113.66, ::ffff:8.8.8.8", *lines]
    if not client_address._is_among(found, TRUSTED):
        assert client_address._behind(peer, forged, TRUSTED) == found


@target
def broker_url(data: bytes) -> None:
    """A URL that is used is shown without its passwords, one that is not is refused without them."""
    url = text(data)
    try:
        read = urls.read(url)
    except urls.BrokerUrlError as error:
        secret = url.partition("://")[2].rpartition("@")[0].rpartition(":")[2]
        assert len(secret) < LONG or secret not in error.detail
        return
    for login in (read.login, read.sentinel_login):
        if len(login.password) > 3 and url.count(login.password) == 1:
            assert login.password not in hide_password(url)
        assert len(login.password) < LONG or login.password not in repr(read)


@target
def publish_keys(data: bytes) -> None:
    """The file of publish keys: keys with scopes, or refused without telling one."""
    try:
        keys = PUBLISH_KEYS.parse(text(data))
    except Refused as error:
        assert "\n" not in str(error)
        return
    assert all(is_scope(scope) for key in keys for scope in key.scopes)
    assert not any(len(key.key) >= LONG and key.key in repr(key) and key.key not in key.name for key in keys)


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """One that awaits nothing."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        return ended.value
    raise AssertionError("it waits")
