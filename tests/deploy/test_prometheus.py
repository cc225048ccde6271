"""The shipped alerts and the dashboard: valid, tried out, and over nothing but series that there are."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from deploy.prometheus_server import (
    DASHBOARD,
    SHIPPED,
    PrometheusServer,
    needs_prometheus,
    needs_promtool,
    promtool,
    selectors,
)
from integration.helping import over
from prometheus_client.parser import text_string_to_metric_families
from servers import GatewayProcess, RedisServer, until
from streams import Stream
from web.inprocess import SECRET, bearer, claims, served, token

from gateway.config import PublishKey

RULES: list[dict[str, Any]] = yaml.safe_load((SHIPPED / "rules.yml").read_text())["groups"][0]["rules"]
TESTS: list[dict[str, Any]] = yaml.safe_load((SHIPPED / "rules.test.yml").read_text())["tests"]
BOARD: dict[str, Any] = json.loads(DASHBOARD.read_text())
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
OPERATING = Path(SHIPPED, "../../docs/operating.md")


def queries() -> dict[str, str]:
    """Of the dashboard, by panel and name, with what Grafana would put in."""
    filled = {}
    for panel in PANELS:
        for target in panel["targets"]:
            query = re.sub(r"\$(job|instance)\b", ".*", target["expr"]).replace("$__rate_interval", "5s")
            filled[f"{panel['title']}: {target['legendFormat']}"] = query
    return filled


async def everything_happens(url: str) -> None:
    """What is counted by reasons that are not known beforehand."""
    event = {"event_type": "x", "data": 1}
    async with aiohttp.ClientSession(url) as http:
        for body, key, status in (
            (event, "key-for-all", 202),
            ({"event_type": ""}, "key-for-all", 400),
            (event, "no", 401),
        ):
            async with http.post("/v1/users/alice/events", json=body, headers=bearer(key)) as response:
                assert response.status == status, await response.text()
        async with http.get("/v1/events", headers=bearer("no")) as response:
            assert response.status == 401


async def known_series(url: str) -> dict[str, list[dict[str, str]]]:
    """Every series of a scrape by name, with the labels of each."""
    async with aiohttp.ClientSession(url) as http, http.get("/metrics") as response:
        text = await response.text()
    known: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            known.setdefault(sample.name, []).append(dict(sample.labels))
    return known


def unknown(query: str, known: dict[str, list[dict[str, str]]]) -> list[str]:
    """What a query asks for that no series is."""
    return [
        f"{name}{labels}"
        for name, labels in selectors(query)
        if not any(labels.items() <= series.items() for series in known.get(name, []))
    ]


# Alerts


@needs_promtool
def test_promtool_accepts_them() -> None:
    """The rules, and the example of a configuration that has them."""
    assert f"{len(RULES)} rules found" in promtool("check", "rules", str(SHIPPED / "rules.yml"))
    promtool("check", "config", str(SHIPPED / "prometheus.yml"))


@needs_promtool
def test_they_fire_when_they_should() -> None:
    """rules.test.yml: each fault has its alerts, and no others; what is well has none."""
    promtool("test", "rules", str(SHIPPED / "rules.test.yml"))


def test_each_alert_is_tried() -> None:
    """In rules.test.yml there is a fault for which it fires."""
    fired = " ".join(
        sample["labels"] for test in TESTS for asked in test["promql_expr_test"] for sample in asked["exp_samples"]
    )
    assert [rule["alert"] for rule in RULES if f'"{rule["alert"]}"' not in fired] == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_to_do(rule: dict[str, Any]) -> None:
    """What is the matter, what that means, how urgent it is, and where more is said: there is such a section."""
    assert rule["alert"].startswith("EventGateway")
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"docs/operating.md#{rule['alert'].lower()}"
    assert re.search(rf"^#+ {rule['alert']}$", OPERATING.read_text(), re.MULTILINE), "docs/operating.md has no section"


def test_no_section_is_of_an_alert_that_is_gone() -> None:
    """The guide explains the alerts that there are."""
    sections = re.findall(r"^#+ (EventGateway\w+)$", OPERATING.read_text(), re.MULTILINE)
    assert sections == [rule["alert"] for rule in RULES]


# The dashboard


def test_each_panel_can_be_read() -> None:
    """A title, what it tells, the chosen Prometheus, a unit, and names for its lines."""
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
    for panel in PANELS:
        assert panel["title"] and panel["description"].endswith("."), panel
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["targets"], panel["title"]
        for part in (panel, *panel["targets"]):
            assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]
        assert all(target["legendFormat"] for target in panel["targets"]), panel["title"]
    assert len(queries()) == sum(len(panel["targets"]) for panel in PANELS), "two lines of one panel have one name"


def test_panels_do_not_lie_on_each_other() -> None:
    """Each has a place of its own in the 24 columns."""
    places = {panel["title"]: panel["gridPos"] for panel in BOARD["panels"]}
    assert len(places) == len(BOARD["panels"])
    for place in places.values():
        assert 0 <= place["x"] <= place["x"] + place["w"] <= 24
    for (title, a), (other, b) in combinations(places.items(), 2):
        apart = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        assert apart or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"], f"{title} and {other}"


@needs_promtool
def test_its_queries_are_promql(tmp_path: Path) -> None:
    """promtool reads them, as if each were a rule."""
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(queries().values())]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", str(file))


# Over what there is


async def test_they_ask_for_what_there_is(redis_url: str, prefix: str) -> None:
    """Every series that an alert, a panel or a variable names is in a gateway's scrape, with its labels."""
    asked: dict[str, str] = {rule["alert"]: rule["expr"] for rule in RULES} | queries()
    asked |= {variable["name"]: variable.get("definition", "") for variable in BOARD["templating"]["list"]}
    async with served(
        broker_url=redis_url, channel_prefix=prefix, jwt_secret=SECRET, publish_keys=(PublishKey("all", "key-for-all"),)
    ) as gateway:
        await until(gateway.gateway.relay.broker.now_ms, what="a probe came back")
        await everything_happens(gateway.url)
        known = await known_series(gateway.url) | {"gateway_worker_up": [{"worker": "0"}]}
        missing = {where: names for where, query in asked.items() if (names := unknown(query, known))}
    assert missing == {}
    used = {name for query in asked.values() for name, _ in selectors(query)}
    assert len(used) > 40, "the queries could not be read"


@needs_prometheus
@pytest.mark.slow
async def test_a_prometheus_finds_it_all(redis_server: RedisServer, prefix: str) -> None:
    """Every panel has something to show, no alert fires; when Redis is gone that is seen, and when it is back too."""
    settings = {"GATEWAY_JWT_SECRET": SECRET, "GATEWAY_PUBLISH_KEYS": "key-for-all"}
    async with (
        GatewayProcess(over(redis_server.url, prefix, **settings)) as gateway,
        PrometheusServer(gateway.port) as prometheus,
        Stream(gateway.url, token=token(claims("alice"))) as stream,
    ):
        await everything_happens(gateway.url)
        await stream.next()

        async def not_shown() -> list[str]:
            return [name for name, query in queries().items() if not await prometheus.query(query.removesuffix(" > 0"))]

        async def shown() -> bool:
            return not await not_shown()

        async def evaluated() -> bool:
            return len(await prometheus.alerts()) == len(RULES)

        async def link_down_is(state: str) -> bool:
            return (await prometheus.alerts()).get("EventGatewayLinkDown") == state

        await until(evaluated, within=20, what="all alerts were evaluated")
        try:
            await until(shown, within=20)
        except AssertionError:
            pytest.fail(f"nothing to show: {await not_shown()}")
        assert [name for name, state in (await prometheus.alerts()).items() if state == "firing"] == []
        redis_server.kill()
        await until(lambda: link_down_is("pending"), within=20)
        await redis_server.start()
        await until(lambda: link_down_is("inactive"), within=20)
