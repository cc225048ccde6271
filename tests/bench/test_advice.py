from __future__ import annotations

import pytest

from gateway.bench import advice
from gateway.bench.stream import NotOpened

URL = "http://h"


@pytest.mark.parametrize(
    ("reason", "status", "what_to_do"),
    [
        ("cannot connect (x)", None, "start a gateway there with `gateway serve --dev`, or give another --url"),
        ("its certificate does not verify (x)", None, "name the authority that signed it in SSL_CERT_FILE"),
        ("no answer within 10 s", None, "is it a gateway's address? Give another with --url"),
        ("200 text/html", 200, "is it a gateway's address? Give another with --url"),
        ("404 x", 404, "is it a gateway's address? Give another with --url"),
        ("401 x", 401, "give --token, or the gateway's secret with --jwt-secret or GATEWAY_JWT_SECRET"),
        ("403 x", 403, "give a --token that may (topics: bench.*), or take another --to"),
    ],
)
def test_what_to_do_about_no_stream(reason: str, status: int | None, what_to_do: str) -> None:
    """Each reason why there is no stream has its advice."""
    assert advice.not_opened(NotOpened(reason, status), URL) == f"{URL}: {reason}; {what_to_do}"


def test_no_advice() -> None:
    """What the gateway itself explains is told as it is."""
    assert advice.not_opened(NotOpened("503 No room", 503), URL) == f"{URL}: 503 No room"


@pytest.mark.parametrize(
    ("reason", "what_to_do"),
    [
        ("max_connections", "; raise GATEWAY_MAX_CONNECTIONS there"),
        ("max_connections_per_user", "; raise GATEWAY_MAX_CONNECTIONS_PER_USER there, or have a user for each made "),
        ("draining", ""),
    ],
)
def test_what_to_do_about_no_room(reason: str, what_to_do: str) -> None:
    """A limit that is reached is named by its setting."""
    told = advice.no_room(f"503 No room for another stream: {reason}")
    assert told.startswith(what_to_do)
    assert bool(told) == bool(what_to_do)
