"""Tokens of an issuer that publishes its keys as a JWK Set, over real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from auth.signing import good, jwk, part, signed
from servers import free_port, until
from streams import Stream
from web import jwks_server
from web.inprocess import Served, bearer, served
from web.jwks_server import Answer, Issuer, issuer

from gateway.auth import jwks
from gateway.config import PublishKey
from gateway.errors import NotAuthenticated
from gateway.web import jwks_endpoint

ONE, TWO = jwk("rsa", "one"), jwk("p256", "two")


@asynccontextmanager
async def trusting(issuer: Issuer, **settings: object) -> AsyncIterator[Served]:
    keys = (PublishKey("k", "key"),)
    async with served(dev=False, jwt_jwks_url=issuer.url, publish_keys=keys, **settings) as gateway:
        yield gateway


async def status(gateway: Served, token: str, **headers: str) -> int:
    async with gateway.http.get("/v1/events", headers=bearer(token) | headers) as response:
        if response.status == 503:
            assert int(response.headers["Retry-After"]) >= 1
            assert (await response.json())["type"] == "urn:event-gateway:problem:keys-unavailable"
        return response.status


def fetches(gateway: Served, outcome: str) -> float:
    registry = gateway.gateway.metrics.registry
    return registry.get_sample_value("gateway_jwks_fetches_total", {"outcome": outcome}) or 0


async def ready(gateway: Served) -> bool:
    async with gateway.http.get("/readyz") as response:
        return response.status == 200


async def test_tokens_of_the_issuers_keys_are_believed() -> None:
    """Each of its keys, of whatever kind, verifies tokens; another's does not."""
    async with issuer(ONE, TWO) as one, trusting(one) as gateway:
        for algorithm, kid in (("RS256", "one"), ("PS512", "one"), ("ES256", "two")):
            async with Stream(gateway.url, token=signed(algorithm, good(), kid=kid)):
                pass
        assert await status(gateway, signed("RS256", good(), number=2, kid="one")) == 401
        assert await status(gateway, signed("RS256", good(), kid="two")) == 401
        assert await status(gateway, signed("HS256", good(), kid="one")) == 401
        assert (one.fetches, fetches(gateway, "ok")) == (1, 1)


async def test_a_rotation_loses_nobody() -> None:
    """A token of a new key is believed at the price of one fetch; one of a key that was withdrawn is not, any more."""
    async with issuer(ONE) as one, trusting(one, jwt_jwks_refresh=0.1) as gateway:
        old, new = signed("RS256", good(), kid="one"), signed("ES256", good(), kid="two")
        async with Stream(gateway.url, token=old):
            one.publish(ONE, TWO)
            async with Stream(gateway.url, token=new), Stream(gateway.url, token=old):
                one.publish(TWO)
                seen = one.fetches
                await until(lambda: one.fetches >= seen + 2)
                assert await status(gateway, old) == 401
                async with Stream(gateway.url, token=new):
                    pass


async def test_ten_thousand_unknown_kids_are_one_fetch() -> None:
    """However many come, and all at once: the endpoint is asked once within ten seconds, and known keys serve."""
    async with issuer(ONE) as one, trusting(one) as gateway:
        await until(lambda: ready(gateway))
        believe = gateway.gateway.subscriber_tokens
        assert believe is not None
        body, signature = signed("RS256", good(), kid="one").split(".")[1:]
        began = asyncio.get_running_loop().time()
        tokens = [f"{part({'alg': 'RS256', 'kid': f'../{n}'})}.{body}.{signature}" for n in range(10_000)]
        refused = await asyncio.gather(*map(believe.believe, tokens), return_exceptions=True)
        assert {type(error) for error in refused} == {NotAuthenticated}
        for token in tokens[:200]:
            assert await status(gateway, token) == 401
        if asyncio.get_running_loop().time() - began < jwks.COOLDOWN:
            assert one.fetches == 2
        async with Stream(gateway.url, token=signed("RS256", good(), kid="one")):
            pass


BAD: dict[str, tuple[Answer, str]] = {
    "a redirect": (jwks_server.redirect, "status"),
    "an error": (jwks_server.error, "status"),
    "an endless answer": (jwks_server.huge, "too_large"),
    "an answer that trickles": (jwks_server.slow, "timeout"),
    "no answer": (jwks_server.hung, "timeout"),
    "an answer that is cut off": (jwks_server.cut, "unreachable"),
    "garbage": (jwks_server.garbage, "invalid"),
    "a page": (jwks_server.page, "invalid"),
}


@pytest.mark.parametrize("name", BAD)
async def test_an_endpoint_that_fails_takes_no_key_away(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it answers, known keys serve, an unknown one is a 503, and the gateway stays ready."""
    monkeypatch.setattr(jwks_endpoint, "WITHIN", 0.3)
    answer, outcome = BAD[name]
    async with issuer(ONE) as one, trusting(one) as gateway:
        await until(lambda: ready(gateway))
        one.answer = answer
        assert await status(gateway, signed("ES256", good(), kid="two")) == 503
        assert fetches(gateway, outcome) == 1
        assert await status(gateway, signed("ES256", good(), kid="two")) == 503
        assert one.fetches == 2
        assert one.elsewhere == 0
        async with Stream(gateway.url, token=signed("RS256", good(), kid="one")):
            pass
        assert await ready(gateway)


@pytest.mark.parametrize("name", BAD)
async def test_the_start_does_not_need_the_endpoint(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until there are keys the gateway runs, is not ready, and asks everybody to come again; then it serves them."""
    monkeypatch.setattr(jwks_endpoint, "WITHIN", 0.3)
    monkeypatch.setattr(jwks, "RETRY", (0.05, 0.05))
    token = signed("RS256", good(), kid="one")
    async with issuer() as one:
        one.answer = BAD[name][0]
        async with trusting(one) as gateway:
            assert await status(gateway, token) == 503
            async with gateway.http.get("/readyz") as response:
                assert response.status == 503
                assert "jwks: no keys" in (await response.json())["reasons"][0]
            one.publish(ONE)
            await until(lambda: ready(gateway))
            async with Stream(gateway.url, token=token):
                pass


async def test_an_event_source_waits_for_the_keys() -> None:
    """While no token can be judged an EventSource is told to come again, in the only way that it listens to."""
    async with issuer() as one, trusting(one) as gateway:
        async with gateway.http.get(
            "/v1/events", headers=bearer(signed("RS256", good(), kid="one")) | {"Accept": "text/event-stream"}
        ) as response:
            assert (response.status, response.content_type) == (200, "text/event-stream")
            assert (await response.read()).startswith(b"retry:")
        assert gateway.gateway.hub.connections == set()


async def test_an_endpoint_where_nobody_listens_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused connections are failed fetches like others."""
    monkeypatch.setattr(jwks, "RETRY", (0.05, 0.05))
    port = free_port()
    async with trusting(Issuer(port)) as gateway:
        await until(lambda: fetches(gateway, "unreachable") >= 2)
        async with issuer(ONE, port=port):
            await until(lambda: ready(gateway))


async def test_a_token_names_no_endpoint() -> None:
    """A jku, an x5u or a key in a token's header is fetched by nobody and verifies nothing."""
    async with issuer(ONE) as one, issuer(jwk("rsa", "evil", number=2)) as evil, trusting(one) as gateway:
        header = {"jku": evil.url, "x5u": evil.url, "jwk": jwk("rsa", "evil", number=2)}
        for kid in ("evil", "one"):
            assert await status(gateway, signed("RS256", good(), number=2, kid=kid, **header)) == 401
        assert evil.fetches == 0


async def test_a_token_with_a_scope_publishes() -> None:
    """Publishers' tokens are of the same keys: where the scope says, and nowhere else."""
    async with issuer(ONE) as one, trusting(one) as gateway:
        sent = bearer(signed("RS256", good(sub="billing", scope="openid user:*"), kid="one"))
        event = {"event_type": "x", "data": 1}
        async with gateway.http.post("/v1/users/alice/events", json=event, headers=sent) as response:
            assert response.status == 202
        async with gateway.http.post("/v1/broadcast", json=event, headers=sent) as response:
            assert response.status == 403
