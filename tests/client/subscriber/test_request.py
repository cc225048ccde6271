"""What a subscriber asks for, and whom it says to be."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.client import subscribe
from gateway.client.subscriber.request import Credential, url_of


def url(base: str = "http://g", **given: Any) -> str:
    return str(url_of(base, **{"topics": (), "types": (), "user": None} | given))


def test_the_streams_address() -> None:
    """Below the gateway's own, with what was asked for."""
    assert url() == url("http://g/") == url("http://g/v1/events") == "http://g/v1/events"
    assert url("http://g/push") == "http://g/push/v1/events"
    asked = url(topics=["orders.eu", "news"], types=["order.*", "x"], user="a@b")
    assert asked == "http://g/v1/events?topic=orders.eu&topic=news&types=order.*,x&user=a@b"


def test_one_is_as_good_as_a_list_of_one() -> None:
    """A text is not taken for its letters."""
    assert url(topics="news", types="x.*") == "http://g/v1/events?topic=news&types=x.*"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"url": "g:80"}, "url: expected the gateway's address"),
        ({"topics": ["a b"]}, "topic: must be 1 to 128"),
        ({"user": "a b"}, "user: must be 1 to 128"),
        ({"token": ""}, "token: must be printable"),
        ({"token": "hunter2\r\nX: y"}, "token: must be printable"),
        ({"last_event_id": "1-0\n"}, "last_event_id: must be"),
        ({"last_event_id": "é"}, "last_event_id: must be"),
        ({"silence": 0}, "silence: must be more than 0"),
    ],
)
def test_what_cannot_be_right_is_refused_at_once(given: dict[str, Any], said: str) -> None:
    """By name, before anything is opened, and without repeating a token."""
    with pytest.raises(ValueError, match=said) as caught:
        subscribe(**{"url": "http://g"} | given)
    assert "hunter2" not in str(caught.value)


async def test_a_token() -> None:
    """A string is shown as it is, without the line end of the file that it came from, and cannot be renewed."""
    credential = Credential("abc\n")
    assert credential.headers() == {"Authorization": "Bearer abc"}
    assert not credential.renewable
    assert not await credential.renew()
    assert Credential(None).headers() == {}


async def test_a_token_that_is_asked_for() -> None:
    """A function gives one, and another when it is asked again."""
    given = iter(["one", "one", "two"])

    async def ask() -> str:
        return next(given)

    credential = Credential(ask)
    assert credential.renewable
    assert await credential.renew()
    assert credential.is_fresh
    assert credential.headers() == {"Authorization": "Bearer one"}
    assert not credential.is_fresh
    assert not await credential.renew()
    assert await credential.renew()
    assert credential.headers() == {"Authorization": "Bearer two"}


async def test_what_is_given_for_a_token_is_checked() -> None:
    """And not repeated."""

    async def ask() -> str:
        return "hunter2 hunter2"

    with pytest.raises(ValueError, match="token: must be printable") as caught:
        await Credential(ask).renew()
    assert "hunter2" not in str(caught.value)
