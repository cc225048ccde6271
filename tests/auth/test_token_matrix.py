"""Tokens of every kind that must not be believed, against a key of every kind: none is."""

from __future__ import annotations

from functools import cache

import pytest
from auth.evil import REASONS, evil, fine, forged, key_of
from auth.signing import KINDS, SECRET, pem, signed
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gateway.auth import keys
from gateway.auth.keyring import FixedKeys
from gateway.auth.verifier import LEEWAY, Verifier
from gateway.errors import NotAuthenticated

PINNED = ["HS256", "RS256", "PS384", "ES256", "ES384", "ES512", "EdDSA"]
FINE = fine(exp=9_999_999_999)


@cache
def verifier(algorithm: str) -> Verifier:
    """One that takes this algorithm and no other, for audience `app` and issuer `me`."""
    of_secret = algorithm.startswith("HS")
    found = [keys.of_secret(SECRET, [algorithm])] if of_secret else keys.of_pem(pem(KINDS[algorithm]), [algorithm])
    return Verifier(FixedKeys(found), audience="app", issuer="me")


@pytest.mark.parametrize("algorithm", PINNED)
async def test_none_is_believed(algorithm: str) -> None:
    """Each is refused, with a reason of a bounded set and a detail that repeats nothing of it."""
    for name, token in evil(algorithm).items():
        with pytest.raises(NotAuthenticated) as raised:
            pytest.fail(f"{name}: believed: {await verifier(algorithm).claims(token)}")
        error = raised.value
        assert error.reason in REASONS, name
        assert error.detail.startswith("the token"), name
        assert not [piece for piece in token.split(".") if len(piece) > 8 and piece in error.detail], name


@pytest.mark.parametrize("algorithm", PINNED)
async def test_a_good_one_is(algorithm: str) -> None:
    """What the matrix changes is what makes the difference: as it was made, the token is believed."""
    assert await verifier(algorithm).claims(signed(algorithm, FINE)) == FINE
    head = {"alg": algorithm, "typ": "at+jwt", "kid": "any", "jku": "https://evil.example", "x5c": ["MIIB"]}
    assert await verifier(algorithm).claims(forged(algorithm, head, FINE, key_of(algorithm))) == FINE


REASON = {
    "claims: expired": "expired",
    "claims: nbf ahead": "not_yet",
    "claims: iat ahead": "not_yet",
    "claims: another aud": "audience",
    "claims: no aud": "audience",
    "claims: another iss": "issuer",
    "claims: no exp": "claims",
    "own key: jwk": "signature",
    "another's claims": "signature",
    "signed and said to be HS256": "algorithm",
    "alg 'none'": "algorithm",
    "encrypted": "malformed",
    "crit": "malformed",
    "claims: a claim twice": "malformed",
    "huge": "malformed",
}


@pytest.mark.parametrize("name", REASON)
async def test_an_honest_caller_is_told_what_to_change(name: str) -> None:
    """Each kind of fault has its own word, and its own sentence."""
    with pytest.raises(NotAuthenticated) as raised:
        await verifier("RS256").claims(evil("RS256")[name])
    assert raised.value.reason == REASON[name]


@pytest.mark.parametrize("ahead", [0.0, LEEWAY - 1])
async def test_a_clock_that_is_a_little_ahead_is_forgiven(ahead: float) -> None:
    """An issuer's `nbf` and `iat` may lie within the leeway; `exp` may not lie behind by anything."""
    one = Verifier(FixedKeys([keys.of_secret(SECRET)]), clock=lambda: 1000.0)
    said = {"sub": "alice", "exp": 1000.001, "nbf": 1000 + ahead, "iat": 1000 + ahead}
    assert await one.claims(forged("HS256", {"alg": "HS256"}, said, SECRET.encode())) == said
    for over in ({"exp": 1000}, {"nbf": 1000 + LEEWAY + 0.1}, {"iat": 1000 + LEEWAY + 0.1}):
        with pytest.raises(NotAuthenticated):
            await one.claims(forged("HS256", {"alg": "HS256"}, said | over, SECRET.encode()))


@pytest.mark.parametrize("algorithm", ["HS256", "ES256"])
@given(data=st.data())
@hypothesis_settings(max_examples=300, deadline=None)
def test_no_changed_token_is_believed(algorithm: str, data: st.DataObject) -> None:
    """Whatever one character of a good token becomes, it is refused, and refused as such."""
    token = _good(algorithm)
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters(codec="latin-1").filter(lambda c: c != token[at]))
    _refused(algorithm, token[:at] + other + token[at + 1 :])


@given(st.one_of(st.text(max_size=200), st.from_regex(r"[\w-]{0,30}\.[\w-]{0,30}\.[\w-]{0,30}", fullmatch=True)))
@hypothesis_settings(max_examples=300, deadline=None)
def test_no_text_is_believed(text: str) -> None:
    """Any text at all is a refusal, and no error of another kind."""
    _refused("HS256", text)


@given(st.binary(max_size=60), st.binary(max_size=60))
@hypothesis_settings(max_examples=300, deadline=None)
def test_no_bytes_are_believed_for_being_signed(header: bytes, payload: bytes) -> None:
    """Whatever the parts hold, signed with the right key or not, is a refusal."""
    _refused("HS256", forged("HS256", header, payload, SECRET.encode()))
    _refused("HS256", forged("HS256", {"alg": "HS256"}, payload, SECRET.encode()))


@cache
def _good(algorithm: str) -> str:
    return signed(algorithm, FINE)


def _refused(algorithm: str, token: str) -> None:
    work = verifier(algorithm).claims(token)
    with pytest.raises(NotAuthenticated):
        work.send(None)
