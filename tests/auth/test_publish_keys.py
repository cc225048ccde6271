"""The keys that publishers show."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.auth.identity import Publisher
from gateway.auth.publish_keys import PublishKeys
from gateway.errors import NotAllowed, NotAuthenticated
from gateway.setting_kinds import PublishKey


def test_a_key_is_its_publisher() -> None:
    """Each key gives its own name and scopes; anything else, however near, gives nobody."""
    keys = PublishKeys([PublishKey("shop", "one", ("user:*",)), PublishKey("shop", "two"), PublishKey("b", "three")])
    assert keys.find("one") == Publisher("shop", ("user:*",))
    assert keys.find("two") == Publisher("shop", ("*",))
    for other in ("", "on", "onee", "One", "shop", "shop:one", "one,two", "\udcff", "é"):
        assert keys.find(other) is None


def test_replaced_keys_are_gone() -> None:
    """From one moment to the next the new keys are the only ones."""
    keys = PublishKeys([PublishKey("shop", "one")])
    keys.replace([PublishKey("shop", "two")])
    assert keys.find("one") is None
    assert keys.find("two") == Publisher("shop", ("*",))


def test_no_keys_let_nobody_in() -> None:
    """Without keys every one that is shown is wrong."""
    assert PublishKeys([]).find("") is None
    assert not PublishKeys([])


def test_keys_are_not_kept_in_the_clear() -> None:
    """What is kept to look up a key is no key, and differs from process to process."""
    one, two = (PublishKeys([PublishKey("shop", "hunter2")]) for _ in range(2))
    assert "hunter2" not in repr(vars(one))
    assert one._publishers.keys() != two._publishers.keys()


SCOPES = [
    ("*", {"user:a", "user:b", "broadcast", "topic:orders.eu", "topic:orders", "topic:news"}),
    ("user:*", {"user:a", "user:b"}),
    ("user:a", {"user:a"}),
    ("broadcast", {"broadcast"}),
    ("topic:*", {"topic:orders.eu", "topic:orders", "topic:news"}),
    ("topic:orders.*", {"topic:orders.eu"}),
    ("topic:orders", {"topic:orders"}),
    ("user:*|broadcast", set()),
    ("users:*", set()),
    ("user", set()),
    ("topic:or*", set()),
    ("broadcast*", set()),
    ("", set()),
]


@pytest.mark.parametrize(("scope", "granted"), SCOPES)
@pytest.mark.parametrize("claim", ["scope", "list", "scopes"])
def test_the_scope_of_a_token_is_that_of_a_key(scope: str, granted: set[str], claim: str) -> None:
    """The same grammar; what is not in it, as the scopes of other services, grants nothing."""
    forms: dict[str, dict[str, Any]] = {
        "scope": {"scope": f"openid {scope} profile"},
        "list": {"scope": [scope, "openid"]},
        "scopes": {"scopes": ["openid", scope]},
    }
    publisher = Publisher.of({"sub": "svc"} | forms[claim])
    for channel in ("user:a", "user:b", "broadcast", "topic:orders.eu", "topic:orders", "topic:news"):
        if channel in granted:
            publisher.require(channel)
        else:
            with pytest.raises(NotAllowed):
                publisher.require(channel)


@pytest.mark.parametrize("scope", [1, None, {"user:*": True}, ["user:*", 1], [["user:*"]]])
def test_a_scope_of_another_type_is_refused(scope: object) -> None:
    """It is words, or a list of them."""
    with pytest.raises(NotAuthenticated):
        Publisher.of({"sub": "svc", "scope": scope})


def test_no_token_has_the_name_of_a_key() -> None:
    """In the log a token's name begins as no key's can, is of bounded length and holds nothing that is not visible."""
    assert Publisher.of({"sub": "shop"}).name == "token:shop"
    assert Publisher.of({"sub": "a\nb\x1b[31m" + "x" * 500}).name == "token:a?b?[31m" + "x" * 120
