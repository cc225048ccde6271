from __future__ import annotations

import enum
import re
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import channels
from gateway.channels import BROADCAST, Keys, kind, matches
from gateway.errors import InvalidEvent

A_UUID = UUID("12345678-1234-5678-1234-567812345678")


class Name(enum.StrEnum):
    ALICE = "alice"


class OldName(str, enum.Enum):  # noqa: UP042  # what code written before Python 3.11 has
    ALICE = "alice"


class Sly(str):
    """Text that calls itself something else."""

    def __str__(self) -> str:
        return "x\r\ndata: forged"


GOOD = [
    ("alice", "alice"),
    ("42", "42"),
    ("a", "a"),
    ("...", "..."),
    ("a.b_c:d@e-F9", "a.b_c:d@e-F9"),
    ("x" * 128, "x" * 128),
    (Name.ALICE, "alice"),
    (OldName.ALICE, "alice"),
    (Sly("alice"), "alice"),
]
BAD = [
    "",
    ".",
    "..",
    "x" * 129,
    "a b",
    "a/b",
    "a%2Fb",
    "a*",
    "a,b",
    "{a}",
    " a",
    "a ",
    "a\n",
    "\na",
    "a\r",
    "a\tb",
    "a\0b",
    "a\x7f",
    "é",
    "a\u2028b",
    "\ufeffa",
    "٤٢",
    "\ud800",
    None,
    42,
    4.2,
    True,
    b"alice",
    ["alice"],
    object(),
]


@pytest.mark.parametrize(("value", "name"), GOOD, ids=repr)
def test_a_name_within_the_grammar_makes_a_channel(value: str, name: str) -> None:
    """Users and topics share a grammar; what comes out is plain text, whatever kind of text went in."""
    for made, expected in [
        (channels.user_id(value), name),
        (channels.user(value), f"user:{name}"),
        (channels.topic(value), f"topic:{name}"),
    ]:
        assert made == expected
        assert type(made) is str


@pytest.mark.parametrize("value", BAD, ids=ascii)
def test_a_name_off_the_grammar_makes_none(value: object) -> None:
    """Anything else raises an error that names the field."""
    with pytest.raises(InvalidEvent) as caught:
        channels.user_id(value)
    assert caught.value.field == "user_id"
    with pytest.raises(InvalidEvent) as caught:
        channels.user(value)
    assert caught.value.field == "user_id"
    with pytest.raises(InvalidEvent) as caught:
        channels.topic(value)
    assert caught.value.field == "topic"


def test_the_error_names_the_field_that_was_asked_about() -> None:
    """A caller who reads the id from somewhere else says from where."""
    with pytest.raises(InvalidEvent) as caught:
        channels.user_id("a b", field="subject")
    assert caught.value.field == "subject"


def test_a_uuid_is_a_user_but_no_topic() -> None:
    """A user may be given as a UUID, and is then the same as by its text."""
    assert channels.user(A_UUID) == channels.user(str(A_UUID)) == f"user:{A_UUID}"
    with pytest.raises(InvalidEvent):
        channels.topic(A_UUID)


@given(st.text())
def test_a_channel_is_safe_to_put_anywhere(text: str) -> None:
    """Whatever is sent as a name, a channel made from it holds nothing that ends a line or needs quoting."""
    try:
        made = channels.user(text)
    except InvalidEvent:
        return
    assert re.fullmatch(r"user:[A-Za-z0-9_.:@-]{1,128}", made, re.ASCII)


@pytest.mark.parametrize(
    ("channel", "label"),
    [("user:42", "user"), ("user:broadcast", "user"), ("topic:user:1", "topic"), (BROADCAST, "broadcast")],
)
def test_there_are_three_kinds(channel: str, label: str) -> None:
    """The kind is what comes before the first colon."""
    assert kind(channel) == label


@pytest.mark.parametrize(
    ("pattern", "name", "falls_under"),
    [
        ("*", "orders", True),
        ("*", "orders.eu.1", True),
        ("orders", "orders", True),
        ("orders", "orders.eu", False),
        ("orders", "order", False),
        ("orders", "Orders", False),
        ("orders.*", "orders.eu", True),
        ("orders.*", "orders.eu.1", True),
        ("orders.*", "orders", False),
        ("orders.*", "ordersx.eu", False),
        ("orders.*", "my.orders.eu", False),
        ("orders.eu.*", "orders.eu.1", True),
        ("orders.eu.*", "orders.us.1", False),
        ("orders*", "orders.eu", False),
        ("*.eu", "orders.eu", False),
        ("o.*s", "orders", False),
        ("", "orders", False),
        ("user:*", "user:42", False),
    ],
)
def test_a_pattern_is_exact_a_prefix_or_everything(pattern: str, name: str, falls_under: bool) -> None:
    """A star means something as the whole pattern or after a final dot, and nowhere else."""
    assert matches(pattern, name) is falls_under


dotted = st.from_regex(r"[a-z]{1,3}(\.[a-z]{1,3}){0,2}", fullmatch=True)


@given(dotted, dotted)
def test_a_prefix_covers_exactly_what_is_below_it(prefix: str, name: str) -> None:
    """Of any two names, `prefix.*` matches the other when its parts begin with the prefix's, and there are more."""
    parts, below = prefix.split("."), name.split(".")
    assert matches(f"{prefix}.*", name) is (len(below) > len(parts) and below[: len(parts)] == parts)


KEYS = Keys("sse")


def test_the_names_in_redis() -> None:
    """The names are the documented ones: other languages publish by them."""
    assert KEYS.pubsub("user:42") == "sse:user:42"
    assert KEYS.pubsub(BROADCAST) == "sse:broadcast"
    assert KEYS.pubsub("topic:orders.eu") == "sse:topic:orders.eu"
    assert KEYS.history("user:42") == "sse:history:user:42"
    assert KEYS.last("user:42") == "sse:last:user:42"
    assert KEYS.dedupe("user:42", "order-7") == "sse:dedupe:user:42:order-7"
    assert (KEYS.journal, KEYS.epoch) == ("sse:journal", "sse:epoch")
    assert (KEYS.processes, KEYS.revocations) == ("sse:processes", "sse:revocations")
    assert KEYS.overloaded == "sse:overloaded"
    assert (KEYS.registry("42"), KEYS.ticket("a1")) == ("sse:registry:42", "sse:ticket:a1")
    assert KEYS.probe("a1") == "sse:probe:a1"


def test_keys_with_colons_cannot_be_mistaken() -> None:
    """The key `b:c` of user `a` is not the key `c` of user `a:b`."""
    assert KEYS.dedupe("user:a", "b:c") != KEYS.dedupe("user:a:b", "c")
    assert KEYS.dedupe("user:a", "b%3Ac") != KEYS.dedupe("user:a", "b:c")


user_names = st.text(st.sampled_from("ab:@"), min_size=1, max_size=6)
keys = st.text(st.sampled_from("ab:@%23A5"), min_size=1, max_size=8)


@given(user_names, keys, user_names, keys)
def test_every_channel_and_key_has_a_name_of_its_own(user: str, key: str, user_2: str, key_2: str) -> None:
    """Two names in Redis are the same only when both channel and key are."""
    one, other = (channels.user(user), key), (channels.user(user_2), key_2)
    assert (KEYS.dedupe(*one) == KEYS.dedupe(*other)) == (one == other)


@given(st.from_regex(channels.USER_ID, fullmatch=True))
def test_no_channel_takes_the_name_of_another_thing(name: str) -> None:
    """Whatever users and topics are called, the keys of different purposes never meet."""
    made = [KEYS.journal, KEYS.epoch, KEYS.processes, KEYS.overloaded, KEYS.revocations]
    made += [KEYS.probe(name), KEYS.registry(name), KEYS.ticket(name)]
    for channel in (f"user:{name}", f"topic:{name}", BROADCAST):
        made += [KEYS.pubsub(channel), KEYS.history(channel), KEYS.last(channel), KEYS.dedupe(channel, name)]
    assert len(set(made)) == len(made)


def test_prefixes_keep_installations_apart() -> None:
    """Two gateways with different prefixes share no name."""
    assert Keys("a").pubsub("user:1") != Keys("b").pubsub("user:1")
