"""GATEWAY_EVENT_CATALOGUE: publishes are held to it, and `types=` knows its categories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from integration.helping import gateway_command
from streams import Stream
from web.inprocess import kept, nothing_published, post, served

from gateway.catalogue import CatalogueError

EVENTS = str(Path(__file__).parent.parent / "catalogue" / "events.yaml")
DONE: dict[str, Any] = {"event_type": "sync.accounts.completed", "data": {"account_count": 3}}
FAILED: dict[str, Any] = {"event_type": "sync.accounts.failed", "data": {"reason": "timeout"}}


@pytest.mark.parametrize("path", ["/v1/events", "/v1/users/alice/events", "/v1/broadcast", "/v1/topics/a/events"])
async def test_publishes_are_held_to_it(path: str) -> None:
    """What fits is taken; what does not is a 400 with the path, in a batch with the index, and nothing is published."""
    async with served(event_catalogue=EVENTS) as gateway:
        own = {"user_id": "alice"}
        assert (await post(gateway, DONE | own, path))[0] == 202
        wrong = DONE | own | {"data": {"account_count": -1}}
        unknown = own | {"event_type": "sync.done", "data": 1}
        async with nothing_published(gateway):
            status, answer = await post(gateway, wrong, path)
            assert (status, answer["field"]) == (400, "data.account_count")
            status, answer = await post(gateway, [DONE | own, wrong], path)
            assert (status, answer["field"]) == (400, "[1].data.account_count")
            status, answer = await post(gateway, unknown, path)
            assert (status, answer["field"]) == (400, "event_type")


@pytest.mark.parametrize(
    ("headers", "body", "field"),
    [
        ({"Content-Type": "application/cloudevents+json"}, {"type": "nope", "data": 1}, "type"),
        ({"Content-Type": "application/cloudevents+json"}, {"type": "invoice.paid", "data": {"id": 7}}, "data"),
        ({"Content-Type": "application/json", "ce-type": "nope"}, {}, "ce-type"),
    ],
)
async def test_cloudevents_are_held_to_it(headers: dict[str, str], body: dict[str, Any], field: str) -> None:
    """Named is what the publisher wrote."""
    required = {"specversion": "1.0", "id": "1", "source": "/x"}
    if "ce-type" in headers:
        headers = headers | {f"ce-{name}": value for name, value in required.items()}
    else:
        body = required | body
    async with served(event_catalogue=EVENTS) as gateway, nothing_published(gateway):
        status, answer = await post(gateway, body, headers=headers)
        assert (status, answer["field"]) == (400, field)


async def test_categories_filter() -> None:
    """`types=` takes a category for all its event types, beside types and prefixes."""
    async with (
        served(event_catalogue=EVENTS) as gateway,
        Stream(gateway.url, "user=alice&types=sync") as sync,
        Stream(gateway.url, "user=alice&types=money,sync.accounts.failed") as others,
    ):
        ping = {"event_type": "ping", "data": 1}
        paid = {"event_type": "invoice.paid", "data": {"id": "a", "lines": []}}
        await post(gateway, [ping, DONE, paid, FAILED])
        assert [event.type for event in await sync.count(2)] == [DONE["event_type"], FAILED["event_type"]]
        assert [event.type for event in await others.count(2)] == ["invoice.paid", FAILED["event_type"]]


async def test_without_one_nothing_is_checked() -> None:
    async with served() as gateway:
        assert (await post(gateway, DONE | {"data": "anything"}))[0] == 202
        assert await kept(gateway) == [(DONE["event_type"], "anything")]


async def test_a_bad_one_is_told_at_the_start(tmp_path: Path) -> None:
    """The gateway does not start, and says where the mistakes are."""
    file = tmp_path / "events.yaml"
    file.write_text("catalogue: 1\nevents:\n  a b: {}\n")
    with pytest.raises(CatalogueError):
        async with served(event_catalogue=str(file)):
            pass
    done = await gateway_command("serve", "--dev", "--port", "0", env={"GATEWAY_EVENT_CATALOGUE": str(file)})
    assert done.status == 2
    assert f"{file}:3: events: a b: an event type is" in done.err
    assert "Traceback" not in done.err
