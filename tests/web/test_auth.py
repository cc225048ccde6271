"""Who is asking: a credential is believed whole or not at all."""

from __future__ import annotations

import base64
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from streams import Stream
from web.inprocess import JSON, SECRET, Served, bearer, claims, served, token

from gateway.config import PublishKey

EVENT = {"event_type": "x", "data": {}}
HOUR = 3600


async def refused(served: Served, **request: Any) -> dict[str, Any]:
    """The problem that a stream request is refused with; it must be a 401."""
    async with served.http.get("/v1/events", **request) as response:
        assert response.status == 401, f"{response.status}: {(await response.content.read(300))!r}"
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert response.content_type == "application/problem+json"
        answer: dict[str, Any] = await response.json()
    assert answer["type"] == "urn:event-gateway:problem:not-authenticated"
    assert served.gateway.hub.connections == set()
    return answer


def without(name: str) -> dict[str, object]:
    return {key: value for key, value in claims().items() if key != name}


def unsigned(algorithm: str) -> str:
    head, body, _ = token(claims(), header={"typ": "JWT", "alg": algorithm}).split(".")
    return f"{head}.{body}."


def altered() -> str:
    """Another user's claims under a signature that was made for mine."""
    head, _, signature = token(claims("alice")).split(".")
    return ".".join((head, token(claims("bob")).split(".")[1], signature))


def raw(header: bytes, body: bytes = b"{}") -> str:
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (header, body, b"signature"))


TOKENS: dict[str, Callable[[], str]] = {
    "no exp": lambda: token(without("exp")),
    "no sub": lambda: token(without("sub")),
    "expired": lambda: token(claims(seconds=-60)),
    "exp is no number": lambda: token(claims() | {"exp": "tomorrow"}),
    "exp is a number in a string": lambda: token(claims() | {"exp": "9999999999"}),
    "exp is true": lambda: token(claims() | {"exp": True}),
    "exp is null": lambda: token(claims() | {"exp": None}),
    "exp is NaN": lambda: token(claims() | {"exp": float("nan")}),
    "exp is a list": lambda: token(claims() | {"exp": [9999999999]}),
    "exp is infinite": lambda: token(claims() | {"exp": float("inf")}),
    "exp is beyond any float": lambda: token(claims() | {"exp": 10**400}),
    "wrong secret": lambda: token(claims(), secret="another-secret-that-is-long-enough-too"),
    "no secret": lambda: token(claims(), secret=""),
    "alg none, no signature": lambda: unsigned("none"),
    "alg None, no signature": lambda: unsigned("None"),
    "alg NONE, signed all the same": lambda: token(claims(), header={"alg": "NONE"}),
    "alg HS256, no signature": lambda: unsigned("HS256"),
    "alg RS256, signed with the HMAC secret": lambda: token(claims(), header={"typ": "JWT", "alg": "RS256"}),
    "alg ES256, signed with the HMAC secret": lambda: token(claims(), header={"typ": "JWT", "alg": "ES256"}),
    "alg HS512, signed with SHA-256": lambda: token(claims(), header={"typ": "JWT", "alg": "HS512"}),
    "no alg": lambda: token(claims(), header={"typ": "JWT"}),
    "alg is no string": lambda: token(claims(), header={"alg": ["HS256"]}),
    "alg is null": lambda: token(claims(), header={"alg": None}),
    "unknown critical header": lambda: token(claims(), header={"alg": "HS256", "crit": ["b64"], "b64": False}),
    "kid is no string": lambda: token(claims(), header={"alg": "HS256", "kid": {"a": 1}}),
    "header is a list": lambda: token(claims(), header=["HS256"]),
    "header nested very deeply": lambda: raw(b"[" * 5000),
    "header with a very long number": lambda: raw(b'{"alg":' + b"1" * 5000 + b"}"),
    "header is no UTF-8": lambda: raw(b'{"alg":"\xff"}'),
    "own key in the header": lambda: token(
        claims(), secret="mine" * 10, header={"alg": "HS256", "jwk": {"kty": "oct", "k": "bWluZQ"}}
    ),
    "own key's address in the header": lambda: token(
        claims(), secret="mine" * 10, header={"alg": "HS256", "jku": "https://evil.example/jwks.json", "kid": "1"}
    ),
    "not valid yet": lambda: token(claims(nbf=time.time() + 60)),
    "nbf is no number": lambda: token(claims(nbf="later")),
    "issued in the future": lambda: token(claims(iat=time.time() + 600)),
    "another user's claims": altered,
    "claims are a list": lambda: raw(b'{"alg":"HS256"}', b"[]"),
    "sub is a number": lambda: token(claims() | {"sub": 42}),
    "sub is null": lambda: token(claims() | {"sub": None}),
    "sub is empty": lambda: token(claims("")),
    "sub with a line end": lambda: token(claims("alice\n")),
    "sub with a space": lambda: token(claims("al ice")),
    "sub with a star": lambda: token(claims("*")),
    "sub is a path": lambda: token(claims("..")),
    "sub is too long": lambda: token(claims("a" * 129)),
    "sub with a character that only looks right": lambda: token(claims("\u0430lice")),
    "topics is a string": lambda: token(claims(topics="orders.*")),
    "topics is a number": lambda: token(claims(topics=1)),
    "topics is null": lambda: token(claims(topics=None)),
    "topics is an object": lambda: token(claims(topics={"orders": True})),
    "topics holds a number": lambda: token(claims(topics=["orders.*", 1])),
    "garbage": lambda: "garbage",
    "dots": lambda: "..",
    "many dots": lambda: "a.b.c.d",
    "base64 of nothing": lambda: "e30.e30.e30",
    "not base64": lambda: "€.€.€",
    "a key of a publisher": lambda: "key-for-all",
}


@pytest.mark.parametrize("name", TOKENS)
async def test_a_token_that_is_not_right_is_refused(secured: Served, name: str) -> None:
    """Nothing that fails to verify opens a stream, and nothing of it is an error of the server."""
    await refused(secured, headers=bearer(TOKENS[name]()))
    await refused(secured, headers={"Cookie": f"gateway_token={TOKENS[name]()}"})


async def test_no_token_is_refused_with_how_to_send_one(secured: Served) -> None:
    """Without any credential the answer says where one goes; the user of development mode is not believed."""
    answer = await refused(secured, params={"user": "alice"})
    assert "Authorization" in answer["detail"]


@pytest.mark.parametrize(
    "header", [b"Bearer \xff\xfe.e30.e30", b"Bearer \xc3\xa9.\xf0\x9f\x98\x80.x", b"\xff", b"Bearer", b"Bearer  "]
)
async def test_bytes_that_are_no_text_are_refused(secured: Served, header: bytes) -> None:
    """A header of any bytes is a 401, and never a 500."""
    for line in (b"Authorization: " + header, b"Cookie: gateway_token=" + header.removeprefix(b"Bearer ")):
        async with secured.wire() as (reader, writer):
            writer.write(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n" + line + b"\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 401 ")


async def test_a_refusal_does_not_repeat_the_token(secured: Served) -> None:
    """Neither the token nor any part of it is in the answer."""
    shown = token(claims(seconds=-60))
    answer = await refused(secured, headers=bearer(shown))
    assert not any(part in str(answer) for part in shown.split("."))


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
async def test_the_scheme_is_matched_without_case(secured: Served, scheme: str) -> None:
    """RFC 9110: authentication schemes are case-insensitive."""
    async with Stream(secured.url, headers={"Authorization": f"{scheme} {token(claims())}"}) as stream:
        assert stream.status == 200


@pytest.mark.parametrize("scheme", ["Basic", "Token", "Bearer:", "JWT"])
async def test_other_schemes_are_refused(secured: Served, scheme: str) -> None:
    """A good token under another scheme is no credential."""
    await refused(secured, headers={"Authorization": f"{scheme} {token(claims())}"})


async def test_the_cookie_is_believed(secured: Served) -> None:
    """An EventSource cannot send headers, so the token may be in the cookie."""
    async with Stream(secured.url, headers={"Cookie": f"a=b; gateway_token={token(claims())}; c=d"}) as stream:
        await secured.http.post("/v1/users/alice/events", json=EVENT, headers=bearer("key-for-all"))
        assert (await stream.next()).type == "x"


async def test_the_header_wins_over_the_cookie(secured: Served) -> None:
    """A bad token in the header is not made good by a cookie."""
    await refused(secured, headers=bearer("garbage") | {"Cookie": f"gateway_token={token(claims())}"})


async def test_the_query_does_not_say_who_the_user_is(secured: Served) -> None:
    """The user of a stream is the token's, whatever the query says."""
    async with Stream(secured.url, "user=bob", token=token(claims("alice"))) as stream:
        assert secured.gateway.registry.here("alice") == 1
        await secured.http.post("/v1/users/bob/events", json=EVENT, headers=bearer("key-for-all"))
        await secured.http.post("/v1/users/alice/events", json=EVENT | {"data": 2}, headers=bearer("key-for-all"))
        assert (await stream.next()).data == "2"


async def test_a_clock_that_is_a_little_ahead_is_forgiven(secured: Served) -> None:
    """A token that becomes valid within the leeway opens a stream."""
    async with Stream(secured.url, token=token(claims(nbf=time.time() + 2, iat=time.time() + 2))) as stream:
        assert stream.status == 200


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
async def test_all_hmac_algorithms_are_taken_by_default(secured: Served, algorithm: str) -> None:
    """With a secret, any of the three HMACs verifies."""
    async with Stream(secured.url, token=jwt.encode(claims(), SECRET, algorithm=algorithm)):
        pass


async def test_only_the_algorithms_that_are_set_are_taken() -> None:
    """GATEWAY_JWT_ALGORITHMS=HS512 refuses HS256."""
    async with served(jwt_secret=SECRET, jwt_algorithms=("HS512",), publish_keys=(PublishKey("k", "k"),)) as strict:
        await refused(strict, headers=bearer(jwt.encode(claims(), SECRET, algorithm="HS256")))
        async with Stream(strict.url, token=jwt.encode(claims(), SECRET, algorithm="HS512")):
            pass


AUDIENCES: list[tuple[dict[str, Any], bool]] = [
    ({"aud": "app", "iss": "me"}, True),
    ({"aud": ["other", "app"], "iss": "me"}, True),
    ({"iss": "me"}, False),
    ({"aud": "app"}, False),
    ({"aud": "other", "iss": "me"}, False),
    ({"aud": "app", "iss": "you"}, False),
    ({"aud": "app", "iss": ["me"]}, False),
    ({"aud": [], "iss": "me"}, False),
    ({"aud": {"app": 1}, "iss": "me"}, False),
    ({"aud": "APP", "iss": "me"}, False),
]


@pytest.mark.parametrize(("extra", "good"), AUDIENCES)
async def test_audience_and_issuer_must_match_when_set(extra: dict[str, Any], good: bool) -> None:
    """With GATEWAY_JWT_AUDIENCE and GATEWAY_JWT_ISSUER set, a token must carry exactly these."""
    keys = (PublishKey("k", "k"),)
    async with served(jwt_secret=SECRET, jwt_audience="app", jwt_issuer="me", publish_keys=keys) as strict:
        if not good:
            await refused(strict, headers=bearer(token(claims(**extra))))
            return
        async with Stream(strict.url, token=token(claims(**extra))):
            pass


async def test_without_an_audience_set_a_token_may_have_one(secured: Served) -> None:
    """The audience of a token is nobody's business when none was configured."""
    async with Stream(secured.url, token=token(claims(aud="somebody", iss="someone"))):
        pass


async def test_a_key_of_a_header_is_never_fetched(secured: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that verifies is taken, and the jku in its header is not looked at."""
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: pytest.fail("the header's jku was fetched"))
    header = {"alg": "HS256", "jku": "http://127.0.0.1:1/", "x5u": "http://127.0.0.1:1/", "jwk": {"kty": "oct"}}
    async with Stream(secured.url, token=token(claims(), header=header)):
        pass


async def test_development_mode_needs_to_know_the_user(gateway: Served) -> None:
    """Without ?user= the answer shows how to say it."""
    assert "user=alice" in (await refused(gateway))["detail"]
    for bad in ("", "a b", "*", "..", "a" * 129, "é"):
        await refused(gateway, params={"user": bad})


async def test_development_mode_still_verifies_a_token_that_is_there() -> None:
    """With a secret set, a bad token in development mode is a 401 and not somebody else."""
    async with served(dev=True, jwt_secret=SECRET) as both:
        await refused(both, params={"user": "alice"}, headers=bearer("garbage"))
        async with Stream(both.url, "user=alice"):
            pass
        async with Stream(both.url, "user=alice", token=token(claims("bob"))):
            assert both.gateway.registry.here("bob") == 1


# --- publishers

PUBLISHING = ["/v1/events", "/v1/users/alice/events", "/v1/broadcast", "/v1/topics/orders.eu/events"]


@pytest.mark.parametrize("path", PUBLISHING)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer("wrong"),
        bearer("key-for-al"),
        bearer("key-for-all2"),
        bearer("KEY-FOR-ALL"),
        {"Authorization": "key-for-all"},
        {"Authorization": "Basic key-for-all"},
        {"Authorization": "Bearer"},
        bearer("é€"),
        {"Cookie": "gateway_token=key-for-all"},
        {"X-Api-Key": "key-for-all"},
    ],
)
async def test_without_a_right_key_nothing_is_published(secured: Served, path: str, headers: dict[str, str]) -> None:
    """A missing or wrong publish key is a 401 before anything else is looked at."""
    before = await secured.gateway.relay.broker.tip()
    async with secured.http.post(path, data=b"not even JSON", headers=headers | JSON) as response:
        assert response.status == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert "key-for" not in await response.text()
    assert await secured.gateway.relay.broker.tip() == before


async def test_a_subscribers_token_does_not_publish(secured: Served) -> None:
    """A token without a scope is for reading."""
    async with secured.http.post("/v1/broadcast", json=EVENT, headers=bearer(token(claims()))) as response:
        assert response.status == 403


SCOPES = [
    ("key-for-all", {"user:alice", "user:bob", "broadcast", "topic:orders.eu", "topic:news"}),
    ("key-for-users", {"user:alice", "user:bob"}),
    ("key-for-alice", {"user:alice", "broadcast"}),
    ("key-for-orders", {"topic:orders.eu"}),
]
CHANNELS = {
    "user:alice": "/v1/users/alice/events",
    "user:bob": "/v1/users/bob/events",
    "broadcast": "/v1/broadcast",
    "topic:orders.eu": "/v1/topics/orders.eu/events",
    "topic:news": "/v1/topics/news/events",
}


@pytest.mark.parametrize(("key", "granted"), SCOPES)
@pytest.mark.parametrize("channel", CHANNELS)
async def test_a_key_publishes_where_its_scopes_say(secured: Served, key: str, granted: set[str], channel: str) -> None:
    """A scope that matches is a 202; any other channel is a 403 and nothing is published."""
    before = await secured.gateway.relay.broker.tip()
    async with secured.http.post(CHANNELS[channel], json=EVENT, headers=bearer(key)) as response:
        assert response.status == (202 if channel in granted else 403)
    assert (await secured.gateway.relay.broker.tip() > before) == (channel in granted)


async def test_one_event_outside_the_scopes_refuses_the_batch(secured: Served) -> None:
    """A batch with one channel that the key may not use is a 403, and none of it is published."""
    batch = [EVENT | {"user_id": "alice"}, EVENT | {"user_id": "bob"}]
    before = await secured.gateway.relay.broker.tip()
    async with secured.http.post("/v1/events", json=batch, headers=bearer("key-for-alice")) as response:
        assert response.status == 403
    assert await secured.gateway.relay.broker.tip() == before


async def test_the_users_own_field_is_not_what_the_scope_is_about(secured: Served) -> None:
    """The scope is for the channel in the path; an event's user_id does not widen or narrow it."""
    event = EVENT | {"user_id": "alice"}
    async with secured.http.post("/v1/users/bob/events", json=event, headers=bearer("key-for-alice")) as response:
        assert response.status == 403
    async with secured.http.post(
        "/v1/users/alice/events", json=EVENT | {"user_id": "bob"}, headers=bearer("key-for-alice")
    ) as response:
        assert response.status == 202


async def test_development_mode_publishes_without_a_key(gateway: Served) -> None:
    """In development mode anybody publishes anywhere."""
    for path in PUBLISHING[1:]:
        async with gateway.http.post(path, json=EVENT) as response:
            assert response.status == 202
