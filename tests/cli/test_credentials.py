"""Who a command listens as."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import jwt
import pytest

from gateway.cli import credentials
from gateway.cli.common import Stop
from gateway.config import Settings

SECRET = "hunter2-hunter2-hunter2-hunter2-hunter2"


def given(**flags: Any) -> argparse.Namespace:
    return argparse.Namespace(**{"user": None, "token": None, "token_file": None, "set_jwt_secret": None} | flags)


def subscriber(settings: Settings | None = None, **flags: Any) -> Any:
    return credentials.subscriber(given(**flags), settings or Settings(), ["orders.eu"])


def test_a_token() -> None:
    """Says who it is for."""
    assert subscriber(token="abc") == ("abc", None)


def test_a_user_in_development_mode() -> None:
    """Without a secret, the name alone."""
    assert subscriber(user="42") == (None, "42")


async def test_a_user_for_whom_a_token_can_be_made() -> None:
    """With the gateway's secret, each time anew, for the topics that are asked for."""
    ask, user = subscriber(Settings(jwt_secret=SECRET), user="42")
    assert user is None
    claims = jwt.decode(await ask(), SECRET, algorithms=["HS256"])
    assert (claims["sub"], claims["topics"]) == ("42", ["orders.eu"])


async def test_a_file_is_read_again(tmp_path: Path) -> None:
    """What puts tokens into files renews them there."""
    file = tmp_path / "token"
    file.write_text("one\n")
    ask, user = subscriber(token_file=str(file))
    assert (await ask(), user) == ("one", None)
    file.write_text("two\n")
    assert await ask() == "two"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({}, "who are you? Give --user 42 "),
        ({"user": "42", "token": "hunter2"}, "--user, and a token, which says who its user is: give only one"),
        ({"token": "hunter2", "token_file": "f"}, "--token, --token-file, --jwt-secret: give only one of them"),
        ({"token": "hunter2", "set_jwt_secret": "x"}, "--token, --token-file, --jwt-secret: give only one of them"),
        ({"token_file": "/nowhere"}, "--token-file /nowhere: cannot be read: No such file or directory"),
    ],
)
def test_it_cannot_be_right(flags: dict[str, Any], said: str) -> None:
    """What is missing, too much or unreadable is named, and no token repeated."""
    with pytest.raises(Stop) as caught:
        subscriber(**flags)
    assert str(caught.value).startswith(said)
    assert caught.value.exit_status == 2
    assert "hunter2" not in str(caught.value)
