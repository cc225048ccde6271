from __future__ import annotations

import pytest

from gateway.bench.plan import Address, Plan, Subscriber, Target


def plan(base: str = "http://127.0.0.1:8080", target: Target = Target.USERS, **more: float) -> Plan:
    return Plan(
        Address(base), (Subscriber("bench-0"),), target, more.get("rate", 50.0), more.get("seconds", 10.0), "r1"
    )


@pytest.mark.parametrize(
    ("base", "host", "port"),
    [
        ("http://127.0.0.1:8080", "127.0.0.1", 8080),
        ("http://gateway", "gateway", 80),
        ("https://events.example.com/", "events.example.com", 443),
        ("http://[::1]:1/sub/path/", "::1", 1),
    ],
)
def test_address(base: str, host: str, port: int) -> None:
    """An address is taken apart; a final slash does not matter."""
    address = Address(base)
    assert (address.host, address.port) == (host, port)
    assert address.base == base.rstrip("/")


def test_no_address() -> None:
    """What cannot be a gateway's address is refused."""
    with pytest.raises(ValueError, match="expected the gateway's address"):
        Address("gateway:8080")


@pytest.mark.parametrize(("rate", "seconds", "events"), [(50, 10, 500), (0.1, 1, 1), (0.3, 5, 2), (3, 0.5, 2)])
def test_number_of_events(rate: float, seconds: float, events: int) -> None:
    """A run has as many events as fit into its time, and at least one."""
    assert plan(rate=rate, seconds=seconds).events == events


@pytest.mark.parametrize(
    ("target", "channel", "query"),
    [
        (Target.USERS, "user:bench-0", "user=bench-0"),
        (Target.TOPIC, "topic:bench.r1", "user=bench-0&topic=bench.r1"),
        (Target.BROADCAST, "broadcast", "user=bench-0"),
    ],
)
def test_targets(target: Target, channel: str, query: str) -> None:
    """Each target is published to where its streams listen."""
    made = plan("http://[::1]:81/sub", target)
    assert made.channel("bench-0") == channel
    head = made.request(made.subscribers[0]).decode().split("\r\n")
    assert head[:2] == [f"GET /sub/v1/events?{query} HTTP/1.1", "Host: [::1]:81"]
    assert head[-2:] == ["", ""]
    assert not any(line.startswith("Authorization") for line in head)


def test_a_token_is_shown_to_the_gateway_only() -> None:
    """The token is in the request, and in no text about the plan."""
    made = plan()
    subscriber = Subscriber("bench-0", "hunter2")
    assert b"\r\nAuthorization: Bearer hunter2\r\n" in made.request(subscriber)
    assert "hunter2" not in repr(subscriber)


def test_an_event_says_whose_it_is() -> None:
    """Events carry the run's id, so that strangers' and other runs' are told apart."""
    event = plan().event(7)
    assert (event.event_type, event.data) == ("bench.tick", {"run": "r1", "n": 7})
