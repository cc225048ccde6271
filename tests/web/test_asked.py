"""What the request for a stream may ask for: of topics and of event types so many."""

from __future__ import annotations

import pytest
from web.inprocess import refusal, refused_because, served


@pytest.mark.parametrize(
    ("query", "limit"),
    [("&".join(["topic=a"] * 4), "max_topics"), ("types=a,b&types=c.*,d", "max_types")],
)
async def test_nobody_asks_for_any_number_of_things(query: str, limit: str) -> None:
    """Topics and types cost something with each event; more than the limit is a mistake, counted under its name."""
    async with served(max_topics=3, max_types=3) as gateway:
        status, problem = await refusal(gateway, f"user=alice&{query}", Accept="text/event-stream")
        assert status == 400
        assert f"GATEWAY_{limit.upper()}" in problem["detail"]
        assert refused_because(gateway, limit) == 1
        async with gateway.http.get("/v1/events?user=alice&topic=a&topic=b&topic=c&types=a,b,c") as response:
            assert response.status == 200
