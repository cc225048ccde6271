"""A JWK Set that is kept: when it is fetched, and what becomes of keys."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from auth.signing import good, jwk, signed
from servers import until

from gateway.auth import jwks as module
from gateway.auth.identity import Subscriber
from gateway.auth.jwks import COOLDOWN, FetchFailed, Jwks, read
from gateway.auth.remembering import Remembering
from gateway.auth.verifier import Verifier
from gateway.errors import KeysUnavailable, NotAuthenticated


class Endpoint:
    """What is fetched from; `keys` is the set, or the failure that a fetch ends with."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.keys: tuple[dict[str, Any], ...] | FetchFailed = keys
        self.fetches = 0
        self.answers = asyncio.Event()
        self.answers.set()

    async def fetch(self) -> bytes:
        self.fetches += 1
        await self.answers.wait()
        if isinstance(self.keys, FetchFailed):
            raise self.keys
        return json.dumps({"keys": self.keys}).encode()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def kept(endpoint: Endpoint, clock: Clock | None = None, refresh: float = 300) -> AsyncIterator[Jwks]:
    """A running `Jwks` whose first fetch has ended."""
    jwks = Jwks(endpoint.fetch, refresh=refresh, clock=clock or Clock())
    task = asyncio.create_task(jwks.run())
    try:
        await until(lambda: jwks.health() is None or isinstance(endpoint.keys, FetchFailed), what="the first fetch")
        await until(lambda: jwks.health() != "no keys: not fetched yet")
        yield jwks
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


DOWN = FetchFailed("unreachable", "it is away")
ONE, TWO = jwk("p256", "one"), jwk("p256", "two", number=2)


async def test_a_kid_chooses_its_key() -> None:
    """A token with a kid may be of that key, or of one without; a token without may be of any."""
    async with kept(Endpoint(ONE, TWO, jwk("ed25519"))) as jwks:
        assert [key.kid for key in jwks.held("one")] == ["one", None]
        assert [key.kid for key in jwks.held(None)] == ["one", "two", None]


async def test_ten_thousand_unknown_kids_are_one_fetch() -> None:
    """All that ask at once wait for one fetch, and none follows within the cooldown."""
    clock, endpoint = Clock(), Endpoint(ONE)
    async with kept(endpoint, clock) as jwks:
        endpoint.answers.clear()
        asked = [asyncio.create_task(jwks.looked_up(f"kid-{n}")) for n in range(10_000)]
        await until(lambda: endpoint.fetches == 2)
        endpoint.answers.set()
        assert set(await asyncio.gather(*asked)) == {()}
        clock.now += COOLDOWN - 0.001
        for n in range(100):
            assert not await jwks.looked_up(f"more-{n}")
        assert endpoint.fetches == 2
        clock.now += 0.001
        assert not await jwks.looked_up("again")
        assert endpoint.fetches == 3


async def test_a_new_kid_is_known_after_one_fetch() -> None:
    """A key that the issuer has just begun to use is found at once, also right after the start."""
    endpoint = Endpoint(ONE)
    async with kept(endpoint) as jwks:
        endpoint.keys = (ONE, TWO)
        assert [key.kid for key in await jwks.looked_up("two")] == ["two"]
        assert endpoint.fetches == 2


async def test_keys_outlive_their_endpoint() -> None:
    """While the endpoint is away what was fetched serves, and a kid that cannot be looked up is not judged."""
    endpoint = Endpoint(ONE)
    async with kept(endpoint) as jwks:
        endpoint.keys = DOWN
        with pytest.raises(KeysUnavailable) as raised:
            await jwks.looked_up("two")
        assert raised.value.retry_after == COOLDOWN
        assert [key.kid for key in jwks.held("one")] == ["one"]
        assert jwks.health() is None


async def test_without_any_key_it_says_so_and_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The start does not depend on the endpoint: it is tried again until it gives keys."""
    monkeypatch.setattr(module, "RETRY", (0.01, 0.02))
    endpoint = Endpoint()
    endpoint.keys = DOWN
    async with kept(endpoint) as jwks:
        assert jwks.health() == "no keys: it is away"
        with pytest.raises(KeysUnavailable):
            await jwks.looked_up("one")
        endpoint.keys = (ONE,)
        await until(lambda: jwks.health() is None)
        assert jwks.held("one")


async def test_who_comes_during_the_first_fetch_waits_for_it() -> None:
    """A token shown before the keys are there is judged when they are."""
    endpoint = Endpoint(ONE)
    endpoint.answers.clear()
    jwks = Jwks(endpoint.fetch, refresh=300)
    task = asyncio.create_task(jwks.run())
    await until(lambda: endpoint.fetches == 1)
    asked = asyncio.create_task(jwks.looked_up("one"))
    left = asyncio.create_task(jwks.looked_up("one"))
    await asyncio.sleep(0)
    left.cancel()  # one who goes away does not take the fetch with it
    endpoint.answers.set()
    assert [key.kid for key in await asked] == ["one"]
    assert endpoint.fetches == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_it_is_refreshed() -> None:
    """Without anybody asking, the set is fetched again after its interval."""
    endpoint = Endpoint(ONE)
    async with kept(endpoint, refresh=0.02) as jwks:
        endpoint.keys = (TWO,)
        await until(lambda: jwks.held("two"))
        assert not jwks.held("one")


async def test_a_remembered_token_falls_with_its_key() -> None:
    """Once its key is withdrawn, a token that verified before is refused; a key that is added forgets nothing."""
    endpoint, clock = Endpoint(ONE), Clock()
    async with kept(endpoint, clock) as jwks:
        subscribers = Remembering(Verifier(jwks), Subscriber.of)
        token = signed("ES256", good(), kid="one")
        assert (await subscribers.believe(token)).user_id == "alice"
        endpoint.keys = (ONE, TWO)
        await jwks.looked_up("two")
        assert jwks.generation == 0
        endpoint.keys = (TWO,)
        clock.now += COOLDOWN
        assert (await subscribers.believe(token)).user_id == "alice"  # it is not known yet that the key went
        await jwks.looked_up("three")
        assert jwks.generation == 1
        with pytest.raises(NotAuthenticated):
            await subscribers.believe(token)


async def test_a_kid_whose_key_was_changed_is_of_the_new_key_only() -> None:
    """The same kid with another key: what the old one signed does not verify any more."""
    endpoint = Endpoint(ONE)
    async with kept(endpoint) as jwks:
        subscribers = Remembering(Verifier(jwks), Subscriber.of)
        old = signed("ES256", good(), kid="one")
        await subscribers.believe(old)
        endpoint.keys = (jwk("p256", "one", number=2),)
        await jwks.looked_up("other")
        with pytest.raises(NotAuthenticated):
            await subscribers.believe(old)
        assert await subscribers.believe(signed("ES256", good(), number=2, kid="one"))


SETS: dict[str, bytes] = {
    "nothing": b"",
    "a page": b"<html>Service Unavailable</html>",
    "no UTF-8": b'{"keys": ["\xff"]}',
    "deeply nested": b"[" * 100_000,
    "a list": b"[]",
    "no keys": b"{}",
    "keys are an object": b'{"keys": {}}',
    "an empty set": b'{"keys": []}',
    "only secrets": b'{"keys": [{"kty": "oct", "k": "AAAA"}]}',
    "a private key": json.dumps({"keys": [jwk("rsa") | {"d": "AQAB"}]}).encode(),
    "too many": json.dumps({"keys": [jwk("ed25519", str(n)) for n in range(33)]}).encode(),
}


@pytest.mark.parametrize("name", SETS)
def test_a_document_without_keys_is_a_failed_fetch(name: str) -> None:
    """What is no JWK Set, or has no key to verify with, takes nothing away and is told."""
    with pytest.raises(FetchFailed) as raised:
        read(SETS[name])
    assert raised.value.outcome == "invalid"


def test_what_cannot_be_used_is_left_out() -> None:
    """Keys for encryption, secrets and unheard-of kinds in a set do not spoil the others."""
    keys: list[Any] = [{"kty": "oct", "k": "AAAA"}, jwk("rsa", "enc", use="enc"), 7, {"kty": "LWE"}, ONE]
    assert [key.kid for key in read(json.dumps({"keys": keys}).encode())] == ["one"]
