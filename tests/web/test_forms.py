"""Which form an answer has: by `Accept`, and by `format=`."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request

from gateway.encodings import EVENT_STREAM, EVENT_STREAM_OF_CLOUDEVENTS, LINES, LINES_OF_CLOUDEVENTS
from gateway.errors import InvalidRequest
from gateway.web.forms import DEFAULT_WAIT, Form, wanted

STREAM, NDJSON, POLL = Form(EVENT_STREAM), Form(LINES), Form(LINES, DEFAULT_WAIT)


def asked(accept: str | None, query: str = "", longest: float = 60) -> Form:
    headers = {} if accept is None else {"Accept": accept}
    return wanted(make_mocked_request("GET", f"/v1/events?{query}", headers=headers), longest)


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (None, STREAM),
        ("", STREAM),
        ("*/*", STREAM),
        ("text/event-stream", STREAM),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", STREAM),
        ("image/png", STREAM),
        ("application/json", POLL),
        ("Application/JSON; charset=utf-8", POLL),
        ("application/json, text/plain, */*", POLL),
        ("application/x-ndjson", NDJSON),
        ("application/jsonl", NDJSON),
        ("application/x-ndjson, application/json", NDJSON),
        ("application/json, application/x-ndjson;q=0.5", POLL),
        ("application/json, text/event-stream", STREAM),
        ("text/event-stream;q=0.1, application/json;q=0.2", POLL),
        ("application/json;q=0", STREAM),
        ("application/json;q=2", STREAM),
        ("application/json;q=x, application/x-ndjson", NDJSON),
        ("application/problem+json", STREAM),
        (",;=,application/json", POLL),
    ],
)
def test_the_best_that_is_accepted(accept: str | None, form: Form) -> None:
    """The event stream unless another is accepted, and preferred."""
    assert asked(accept) == form


def test_cloudevents_on_request() -> None:
    """In each form."""
    query = "format=cloudevents"
    assert asked(None, query) == Form(EVENT_STREAM_OF_CLOUDEVENTS)
    assert asked("application/x-ndjson", query) == Form(LINES_OF_CLOUDEVENTS)
    assert asked("application/json", query) == Form(LINES_OF_CLOUDEVENTS, DEFAULT_WAIT)


@pytest.mark.parametrize("query", ["format=", "format=json", "format=CloudEvents", "format=cloudevents&format=x"])
def test_another_format_is_refused(query: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        asked(None, query)
    assert caught.value.field == "format"


def test_a_wait_is_bounded() -> None:
    """By the setting, which also bounds what is waited for without one."""
    assert asked("application/json", "wait=0").wait == 0
    assert asked("application/json", "wait=60").wait == 60
    assert asked("application/json", "wait=1.5").wait == 1.5
    assert asked("application/json", longest=5).wait == 5
    with pytest.raises(InvalidRequest, match="GATEWAY_MAX_POLL_SECONDS"):
        asked("application/json", "wait=5.1", longest=5)
