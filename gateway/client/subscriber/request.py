"""What is asked of the gateway at every connection: the address of the stream, and who asks."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, TypeAlias

from ... import channels

if TYPE_CHECKING:
    from yarl import URL

Token: TypeAlias = str | Callable[[], Awaitable[str]]

_SENDABLE = re.compile(r"[!-~]+")


def url_of(base: str, *, topics: Iterable[str], types: Iterable[str], user: str | None) -> URL:
    """The stream's address. `ValueError` for a part that cannot be."""
    from .. import address  # which brings yarl

    query = [("topic", channels.topic(name).removeprefix("topic:")) for name in _several(topics)]
    if wanted := ",".join(_several(types)):
        query.append(("types", wanted))
    if user is not None:
        query.append(("user", channels.user_id(user, field="user")))
    try:
        url = address.checked(base)
    except ValueError as error:
        raise ValueError(f"url: {error}") from None
    return url.with_path(url.raw_path.rstrip("/") + address.STREAMS, encoded=True).with_query(query)


def _several(given: Iterable[str]) -> Iterable[str]:
    """One that was not put into a list is not taken for its letters."""
    return [given] if isinstance(given, str) else given


class Credential:
    """`given` is a token, or gives one; None in development mode. `is_fresh`: it was not shown yet."""

    def __init__(self, given: Token | None) -> None:
        self._token = _checked(given) if isinstance(given, str) else None
        self.is_fresh = False
        self._ask = None if given is None or isinstance(given, str) else given

    @property
    def renewable(self) -> bool:
        return self._ask is not None

    async def renew(self) -> bool:
        """Ask for a token, if there is whom to ask. Whether it is another than before."""
        if self._ask is None:
            return False
        before, self._token = self._token, _checked(await self._ask())
        self.is_fresh = self._token != before
        return self.is_fresh

    def headers(self) -> dict[str, str]:
        self.is_fresh = False
        return {} if self._token is None else {"Authorization": f"Bearer {self._token}"}


def _checked(token: object) -> str:
    text = token.strip() if isinstance(token, str) else ""
    if _SENDABLE.fullmatch(text) is None:
        raise ValueError("token: must be printable ASCII characters, no spaces")
    return text
