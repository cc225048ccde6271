from __future__ import annotations

import re

import pytest

from gateway import errors
from gateway.errors import BrokerUnavailable, GatewayError, InvalidEvent, NotAllowed, RateLimited


def tree(root: type[GatewayError]) -> list[type[GatewayError]]:
    here = [child for child in root.__subclasses__() if child.__module__ == errors.__name__]
    return [root, *(error for child in here for error in tree(child))]


ALL = tree(GatewayError)


def test_the_tree_at_the_top_of_the_module_is_the_real_one() -> None:
    """The drawing names every error, in order, with its parent and its status."""
    drawn = re.findall(r"^([│ ]*)[├└]── (\w+) +(\d{3})", errors.__doc__ or "", re.MULTILINE)
    shown, above = [], GatewayError.__name__
    for indent, name, status in drawn:
        shown.append((name, above if indent else GatewayError.__name__, int(status)))
        above = above if indent else name
    real = [(error.__name__, error.__mro__[1].__name__, error.status) for error in ALL[1:]]
    assert shown == real


@pytest.mark.parametrize("error", ALL)
def test_each_error_can_be_rendered(error: type[GatewayError]) -> None:
    """Each has an HTTP error status, a slug for its URL, a title and a sentence about itself."""
    assert error.status in range(400, 600)
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", error.slug)
    assert error.title
    assert error.__doc__


def test_slugs_and_titles_are_unique() -> None:
    """Two errors can be told apart by either."""
    assert len({error.slug for error in ALL}) == len({error.title for error in ALL}) == len(ALL)


@pytest.mark.parametrize("error", ALL)
def test_all_are_caught_as_one(error: type[GatewayError]) -> None:
    """One `except` is enough for whatever this package raises on purpose."""
    with pytest.raises(GatewayError):
        raise error("it broke")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (NotAllowed(), "Not allowed"),
        (NotAllowed("not yours"), "not yours"),
        (InvalidEvent("is missing", field="data"), "data: is missing"),
    ],
)
def test_the_text_is_the_most_that_is_known(error: GatewayError, text: str) -> None:
    """Its text is the title, or the detail, behind the field where there is one."""
    assert str(error) == text


def test_what_is_given_is_kept() -> None:
    """Detail, field and retry_after are there for whoever renders the error."""
    error = RateLimited("slow down", field="topic", retry_after=2.5)
    assert (error.detail, error.field, error.retry_after) == ("slow down", "topic", 2.5)
    assert (GatewayError().detail, GatewayError().field, GatewayError().retry_after) == ("", None, None)


def test_an_invalid_event_is_a_value_error() -> None:
    """Code that knows nothing of this package catches it as what it is."""
    with pytest.raises(ValueError, match="is missing"):
        raise InvalidEvent("is missing")


@pytest.mark.parametrize(("field", "path"), [("data.items[3].id", "[7].data.items[3].id"), (None, "[7]")])
def test_an_item_of_a_batch_is_named_by_its_index(field: str | None, path: str) -> None:
    """The path of an error in a batch begins with the index of the bad item."""
    error = InvalidEvent.at(7, InvalidEvent("is bad", field=field))
    assert (error.field, error.detail, type(error)) == (path, "is bad", InvalidEvent)


def test_an_unavailable_broker_may_be_tried_again_soon() -> None:
    """Unless it is said otherwise, a second is the advice."""
    assert BrokerUnavailable().retry_after == 1
    assert BrokerUnavailable(retry_after=5).retry_after == 5
    assert BrokerUnavailable(retry_after=None).retry_after is None
    assert BrokerUnavailable("down", field="x").field == "x"
