from __future__ import annotations

import pytest

from gateway.broker.redis.connect import Address, BrokerUrlError, client

UNUSABLE = [
    "redis://:hunter2@h:not-a-port",
    "redis://:hunter2/x@h:6379",
    "redis://:hunter2#x@h:6379",
    "redis://:hunter2@h:70000",
    "redis://:hunter2@[::1",
    "redis://h?password=hunter2&db=x",
    "redis://h?password=hunter2&no_such_option=1",
    "redis://:hunter2@h?ssl_cert_reqs=required",
    "rediss://:hunter2@h?ssl_cert_reqs=perhaps",
    "hunter2://h",
    "http://:hunter2@h",
]


@pytest.mark.parametrize("url", UNUSABLE)
def test_a_url_that_cannot_be_used(url: str) -> None:
    """It is refused when it is read, and the error holds no part of it but the scheme."""
    with pytest.raises(BrokerUrlError) as raised:
        client(url, timeout=1)
    assert "hunter2" not in str(raised.value).removeprefix(url.partition("://")[0])
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__ is not None


def test_an_address_does_not_show_its_password() -> None:
    """What stands in a log line or an error is where, not as whom."""
    address = Address.of("redis://user:hunter2@h:1/0")
    assert address.password == "hunter2"
    assert "hunter2" not in f"{address} {address!r}"
