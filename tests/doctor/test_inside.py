"""What the doctor makes of a gateway's health, a token and a key."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from doctor.examining import examined, findings, mends
from servers import HOST, free_port
from web.inprocess import SECRET, Served, claims, served, token

from gateway.config import PublishKey
from gateway.doctor import inside
from gateway.doctor.deployment import Deployment, Who
from gateway.doctor.report import CannotExamine, Check, Outcome


@pytest_asyncio.fixture
async def gateway() -> AsyncIterator[Served]:
    """As in production."""
    keys = PublishKey("all", "key-for-all"), PublishKey("bob", "key-for-bob", ("user:bob",))
    async with served(jwt_secret=SECRET, publish_keys=keys) as running:
        yield running


def who(topics: tuple[str, ...] = ()) -> Who:
    return Who.of_token(token(claims(seconds=900, iat=time.time(), topics=topics)))


async def test_a_token_that_may_read_the_doctors_topic(gateway: Served) -> None:
    """Then no user hears of the examination."""
    found = await examined(gateway.url, who=who(("doctor.*",)), key="key-for-all")
    assert findings(found) == set()
    assert found["publish"].says.startswith("to topic:doctor.")
    assert found["token"].says == "good for 15 minutes"


async def test_a_token_of_a_user(gateway: Served) -> None:
    """Its user hears of it, which is said."""
    found = await examined(gateway.url, who=who(), key="key-for-all")
    assert findings(found) == set()
    assert found["publish"].says == "to user:alice"


async def test_a_key_for_users_only(gateway: Served) -> None:
    """What may not publish to the topic may perhaps to the user."""
    bob = Who.of_token(token(claims("bob", topics=["*"])))
    found = await examined(gateway.url, who=bob, key="key-for-bob")
    assert found["publish"].says == "to user:bob"
    assert found["delivery"].outcome is Outcome.OK


@pytest.mark.parametrize(
    ("key", "outcome", "said"),
    [
        (None, Outcome.SKIPPED, "give --publish-key, and delivery is looked at"),
        ("wrong", Outcome.FINDING, "401 what was sent as 'Authorization: Bearer …' is no publish key"),
        ("key-for-bob", Outcome.FINDING, "403 'bob' may not publish to 'user:alice'"),
    ],
)
async def test_without_a_good_key(gateway: Served, key: str | None, outcome: Outcome, said: str) -> None:
    """What can be looked at without publishing is."""
    found = await examined(gateway.url, who=who(), key=key)
    assert found["publish"].outcome is outcome
    assert said in found["publish"].says
    assert found["opening"].outcome is Outcome.OK
    assert {found[name].outcome for name in ("buffering", "delivery", "resume")} == {Outcome.SKIPPED}
    assert (outcome is Outcome.FINDING) == ("GATEWAY_PUBLISH_KEYS" in mends(found["publish"]))


async def test_tokens_that_are_refused(gateway: Served) -> None:
    """There is nothing to look at, and why is said, with what to do."""
    with pytest.raises(CannotExamine, match=r"401 .* give --token"):
        await examined(gateway.url)
    with pytest.raises(CannotExamine, match="401 the token's signature does not verify"):
        await examined(gateway.url, who=Who.of_token(token(claims(), secret="x" * 32)))
    with pytest.raises(CannotExamine, match="the token expired 60 minutes ago"):
        await examined(gateway.url, who=Who.of_token(token(claims(seconds=-3600))))


def looked_at(needed: float, **said: object) -> Check:
    return inside.token(Deployment("http://g", Who.of_token(token({"sub": "alice", **said})), run="r"), needed)


def test_a_token_that_lives_too_short() -> None:
    """Each of its ends is a reconnect."""
    now = time.time()
    check = looked_at(10, iat=now, exp=now + 60)
    assert (check.outcome, check.says) == (Outcome.FINDING, "the token lives for 60 s in all")
    check = looked_at(100, iat=now - 7200, exp=now + 50)
    assert check.outcome is Outcome.HINT
    assert check.says.startswith("the token ends in 50 s, before this is done")
    assert looked_at(100).outcome is Outcome.FINDING


async def test_too_many_streams() -> None:
    """A limit that refuses some of them is named."""
    async with served(max_connections_per_user=3) as gateway:
        found = await examined(gateway.url)
    assert findings(found) == {"opening"}
    assert "3 of 4 streams were refused: 503: " in found["opening"].says
    assert "--connections" in mends(found["opening"])


async def test_without_retention() -> None:
    """What is lost during a cut is lost: a choice, which is pointed out."""
    async with served(retention=False) as gateway:
        found = await examined(gateway.url)
    assert findings(found) == set()
    assert found["resume"].outcome is Outcome.HINT
    assert "GATEWAY_RETENTION=on" in mends(found["resume"])


async def test_a_gateway_whose_redis_is_away() -> None:
    """Its own words, and what to look for."""
    async with served(broker_url=f"redis://{HOST}:{free_port()}") as gateway:
        found = await examined(gateway.url)
    assert findings(found) >= {"health", "publish"}
    assert "/readyz says broker: " in found["health"].says
    assert "GATEWAY_BROKER_URL" in mends(found["health"])
    assert found["opening"].outcome is Outcome.HINT


async def test_an_internal_address_that_is_none() -> None:
    """It cannot be asked, so nothing can be said."""
    async with served() as gateway:
        with pytest.raises(CannotExamine, match=r"--internal .* cannot connect"):
            await examined(gateway.url, internal=f"http://{HOST}:{free_port()}")
