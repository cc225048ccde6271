"""Whose address a request comes from."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_network

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gateway.app import build
from gateway.config import Settings
from gateway.web.client_address import client_address, client_network, from_trusted_proxy

PROXIES = ("10.0.0.0/8", "127.0.0.1/32", "2001:db8:ffff::/48")


def request_of(peer: object, *forwarded: str, trusted: tuple[str, ...] = PROXIES) -> web.Request:
    class Transport:
        def get_extra_info(self, name: str, default: object = None) -> object:
            return peer if name == "peername" else default

        def is_closing(self) -> bool:
            return False

    app = build(Settings(dev=True, trusted_proxies=tuple(map(ip_network, trusted))))
    headers = [("X-Forwarded-For", line) for line in forwarded]
    return make_mocked_request("GET", "/", headers=headers, app=app, transport=Transport())


CASES: dict[str, tuple[str, tuple[str, ...], str]] = {
    "no proxy": ("192.0.2.1", (), "192.0.2.1"),
    "a stranger says who it is": ("192.0.2.1", ("198.51.100.7",), "192.0.2.1"),
    "one proxy": ("10.0.0.1", ("198.51.100.7",), "198.51.100.7"),
    "a client that wrote the header itself": ("10.0.0.1", ("203.0.113.9, 198.51.100.7",), "198.51.100.7"),
    "two proxies": ("10.0.0.1", ("203.0.113.9, 198.51.100.7, 10.0.0.2",), "198.51.100.7"),
    "two header lines": ("10.0.0.1", ("203.0.113.9, 198.51.100.7", "10.0.0.2"), "198.51.100.7"),
    "all are proxies": ("10.0.0.1", ("10.0.0.3, 10.0.0.2",), "10.0.0.3"),
    "a proxy that says nothing": ("10.0.0.1", (), "10.0.0.1"),
    "an empty header": ("10.0.0.1", ("",), "10.0.0.1"),
    "no address": ("10.0.0.1", ("203.0.113.9, unknown",), "10.0.0.1"),
    "no address behind a proxy": ("10.0.0.1", ("203.0.113.9, unknown, 10.0.0.2",), "10.0.0.2"),
    "with a port": ("10.0.0.1", ("198.51.100.7:4711",), "198.51.100.7"),
    "IPv6 with a port": ("10.0.0.1", ("[2001:db8::7]:4711",), "2001:db8::7"),
    "IPv6 spelled at length": ("10.0.0.1", ("2001:0DB8:0:0:0:0:0:7",), "2001:db8::7"),
    "IPv6 through an IPv6 proxy": ("2001:db8:ffff::1", ("2001:db8::7",), "2001:db8::7"),
    "IPv4 inside of IPv6": ("::ffff:10.0.0.1", ("::ffff:198.51.100.7",), "198.51.100.7"),
    "a zone": ("fe80::1%eth0", (), "fe80::1"),
    "a Unix socket": ("", ("198.51.100.7",), "198.51.100.7"),
    "a Unix socket, no header": ("", (), "127.0.0.1"),
}


@pytest.mark.parametrize("name", CASES)
def test_the_client_is_the_right_most_that_is_no_proxy(name: str) -> None:
    """The peer, or what the trusted proxies say of whom they got the request from."""
    peer, forwarded, expected = CASES[name]
    assert client_address(request_of((peer, 4711) if peer else "", *forwarded)) == expected


@pytest.mark.parametrize(("peer", "trusted"), [("10.1.2.3", True), ("192.0.2.1", False), ("::ffff:10.0.0.1", True)])
def test_only_the_peer_makes_a_proxy_trusted(peer: str, trusted: bool) -> None:
    """Whether headers are believed depends on who sent the request, not on what the request says."""
    assert from_trusted_proxy(request_of((peer, 1), "10.0.0.1")) is trusted


def test_without_proxies_nobody_is_believed() -> None:
    """With GATEWAY_TRUSTED_PROXIES unset the peer is the client, on a Unix socket too."""
    for peer in (("127.0.0.1", 1), ""):
        request = request_of(peer, "198.51.100.7", trusted=())
        assert client_address(request) == "127.0.0.1"
        assert not from_trusted_proxy(request)


@given(st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=60))
def test_no_header_is_an_error(forwarded: str) -> None:
    """Whatever a proxy hands on, there is an answer, and it is an address."""
    address = client_address(request_of(("10.0.0.1", 1), forwarded))
    assert str(ip_address(address)) == address


@given(st.ip_addresses(v=6), st.integers(0, 2**64 - 1))
@hypothesis_settings(deadline=None)
def test_an_ipv6_client_has_its_whole_site(address: IPv6Address, chosen: int) -> None:
    """Whatever it chooses as the second half of its address, limits know it by the first."""
    other = IPv6Address(int(address) >> 64 << 64 | chosen)
    if not address.ipv4_mapped and not other.ipv4_mapped:
        assert client_network(request_of(str(address))) == client_network(request_of(str(other)))
        assert address in ip_network(client_network(request_of(str(address))))


@pytest.mark.parametrize("spelled", ["192.0.2.1", "::ffff:192.0.2.1"])
def test_an_ipv4_client_is_its_address(spelled: str) -> None:
    """However it is spelled."""
    assert client_network(request_of(spelled)) == "192.0.2.1"
