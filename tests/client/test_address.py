"""The address of a gateway, as people write it."""

from __future__ import annotations

import pytest

from gateway.client.address import base


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("https://events.example.com/", "https://events.example.com"),
        ("http://[::1]:1/sub/path/", "http://[::1]:1/sub/path"),
        (" http://gateway \n", "http://gateway"),
        ("http://gateway/v1/events", "http://gateway"),
        ("http://gateway/push/v1/events/", "http://gateway/push"),
        ("http://gateway/a%2Fb", "http://gateway/a%2Fb"),
    ],
)
def test_an_address(written: str, read: str) -> None:
    """Slashes at its end do not matter, and the address of the streams is as good as the gateway's."""
    assert base(written) == read


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("", "expected the gateway's address"),
        ("gateway:8080", "expected the gateway's address"),
        ("ftp://gateway", "expected the gateway's address"),
        ("redis://h", "expected the gateway's address"),
        ("http://", "expected the gateway's address"),
        ("http://[hunter2", "expected the gateway's address"),
        ("http://user:hunter2@gateway:port", "expected the gateway's address"),
        ("http://user:hunter2@gateway", "must not hold credentials"),
        ("http://gateway/?key=hunter2", "must have neither a query nor a fragment"),
        ("http://gateway/#hunter2", "must have neither a query nor a fragment"),
    ],
)
def test_no_address(written: str, said: str) -> None:
    """What cannot be one is refused, without being repeated."""
    with pytest.raises(ValueError, match=said) as caught:
        base(written)
    assert "hunter2" not in str(caught.value)
