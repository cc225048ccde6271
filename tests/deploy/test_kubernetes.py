"""deploy/kubernetes: what a cluster would be given is valid, and holds together with the gateway that runs in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
from deploy.image import DOCKERFILE, instructions
from deploy.manifests import Manifest, judge, matches, overlay
from web.inprocess import served

from gateway.web import sites

OVERLAYS = ("dev", "production", "keda")
MEMORY = {"Mi": 2**20, "Gi": 2**30}

every_overlay = pytest.mark.parametrize("name", OVERLAYS)


def pods(name: str) -> list[Manifest]:
    return [item["spec"]["template"]["spec"] for item in overlay(name).all("Deployment")]


def paths_of(routes: Any) -> set[str]:
    return {route.path for route in routes}


@every_overlay
def test_it_is_what_the_cluster_takes(name: str) -> None:
    """Every object, strictly by its kind's schema, of the oldest and the newest Kubernetes that it is for."""
    for item in overlay(name).objects:
        judge(item)


def test_what_is_wrong_would_be_seen() -> None:
    """A field that does not exist is refused, in a kind of Kubernetes' own and in a custom one."""
    for kind in ("Deployment", "ServiceMonitor", "HTTPRoute"):
        item = overlay("production").one(kind)
        with pytest.raises(jsonschema.ValidationError, match="'replica' was unexpected"):
            judge(item | {"spec": item["spec"] | {"replica": 3}})


@every_overlay
def test_the_gateway_starts_with_its_settings(name: str, tmp_path: Path) -> None:
    """No unknown name, nothing that contradicts: with the secrets where they are mounted it would serve."""
    loaded = overlay(name).settings(tmp_path)
    assert not loaded.warnings
    assert loaded.sources["jwt_secret"].startswith("secret file")
    assert loaded.settings.internal_port is not None


@every_overlay
def test_ports_are_those_the_gateway_listens_on(name: str, tmp_path: Path) -> None:
    """The container's ports, by number; and every other mention is of a port by its name."""
    manifests, settings = overlay(name), overlay(name).settings(tmp_path).settings
    ports = {port["name"]: port["containerPort"] for port in manifests.container["ports"]}
    assert ports == {"http": settings.port, "internal": settings.internal_port}
    for service, target in (("event-gateway", "http"), ("event-gateway-internal", "internal")):
        (port,) = manifests.one("Service", service)["spec"]["ports"]
        assert port["targetPort"] == target
    rules = manifests.one("NetworkPolicy")["spec"]["ingress"]
    assert [port["port"] for rule in rules for port in rule["ports"]] == ["http", "internal"]


@every_overlay
def test_a_pod_has_the_time_to_drain(name: str, tmp_path: Path) -> None:
    """Grace is longer than preStop and the drain, with room for the end of the process."""
    manifests, settings = overlay(name), overlay(name).settings(tmp_path).settings
    sleep = manifests.container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert manifests.pod["spec"]["terminationGracePeriodSeconds"] >= sleep + settings.drain_seconds + 10


@every_overlay
def test_an_update_takes_nobody_away_before_another_is_ready(name: str) -> None:
    strategy = overlay(name).one("Deployment")["spec"]["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    assert "replicas" not in overlay(name).one("Deployment")["spec"]
    assert overlay(name).one("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1


@every_overlay
async def test_probes_ask_what_there_is(name: str) -> None:
    """On the public port of a gateway with an internal one; a Redis that is away restarts no pod."""
    container = overlay(name).container
    async with served() as gateway:
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            asked = container[probe]["httpGet"]
            assert asked["port"] == "http"
            assert asked["path"] in paths_of(sites.public_routes())
            async with gateway.http.get(asked["path"]) as response:
                assert response.status == 200
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    readiness = container["readinessProbe"]
    assert readiness["periodSeconds"] * readiness["failureThreshold"] >= 30, "longer than Redis takes to fail over"


@every_overlay
def test_pods_are_restricted(name: str) -> None:
    """By the standard of that name, which the namespace enforces; and no token of Kubernetes' is in them."""
    (namespace,) = overlay(name).all("Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for pod in pods(name):
        assert pod["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]
    assert overlay(name).pod["spec"]["enableServiceLinks"] is False
    assert overlay(name).one("ServiceAccount")["automountServiceAccountToken"] is False


@every_overlay
def test_the_user_is_the_images(name: str) -> None:
    """Or files of the image, and mounted secrets, could not be read."""
    (user,) = [rest for word, rest in instructions(DOCKERFILE.read_text()) if word == "USER"]
    security = overlay(name).pod["spec"]["securityContext"]
    assert user == f"{security['runAsUser']}:{security['runAsGroup']}"
    assert security["fsGroup"] == security["runAsGroup"]
    (secrets,) = [v for v in overlay(name).pod["spec"]["volumes"] if v["name"] == "secrets"]
    assert secrets["secret"]["defaultMode"] == 0o440


@every_overlay
def test_selectors_find_the_pods(name: str) -> None:
    """Services, budget, policy, spreading and scaling are all about the same pods, and about no others."""
    manifests = overlay(name)
    selectors = [manifests.one("Service", service)["spec"]["selector"] for service in SERVICES]
    selectors += [
        manifests.one(kind)["spec"]["selector"]["matchLabels"] for kind in ("Deployment", "PodDisruptionBudget")
    ]
    selectors += [manifests.one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"]]
    selectors += [c["labelSelector"]["matchLabels"] for c in manifests.pod["spec"]["topologySpreadConstraints"]]
    for selector in selectors:
        found = [d["metadata"]["name"] for d in manifests.all("Deployment") if matches(selector, d["spec"]["template"])]
        assert found == ["event-gateway"]


SERVICES = ("event-gateway", "event-gateway-internal")


def test_the_route_leads_to_what_subscribers_need_and_nowhere_else() -> None:
    """Exact paths, all public; a stream's request has no time-out, and the internal Service is not behind it."""
    rules = overlay("production").one("HTTPRoute")["spec"]["rules"]
    asked = {(match["path"]["value"], match["method"]): rule for rule in rules for match in rule["matches"]}
    assert all(match["path"]["type"] == "Exact" for rule in rules for match in rule["matches"])
    assert asked.keys() == {
        ("/v1/events", "GET"), ("/v1/events", "OPTIONS"), ("/v1/tickets", "POST"), ("/v1/tickets", "OPTIONS"),
        ("/client.js", "GET"),
    }  # fmt: skip
    assert {path for path, _ in asked} <= paths_of(sites.public_routes())
    assert asked["/v1/events", "GET"]["timeouts"]["request"] == "0s"
    (port,) = overlay("production").one("Service")["spec"]["ports"]
    for rule in rules:
        assert rule["backendRefs"] == [{"name": "event-gateway", "port": port["port"]}]


def test_the_internal_port_is_for_publishers_and_prometheus() -> None:
    """Nobody else in the cluster reaches it."""
    rules = overlay("production").one("NetworkPolicy")["spec"]["ingress"]
    (internal,) = [rule for rule in rules if rule["ports"] == [{"port": "internal"}]]
    assert len(internal["from"]) == 2
    assert all(peer.get("podSelector") or peer["namespaceSelector"] for peer in internal["from"])


@pytest.mark.parametrize("name", ["production", "keda"])
def test_what_scales_asks_for_a_metric_that_exists(name: str) -> None:
    """Connections, of which a pod has some left when the next one starts; and down slowly, by one pod at a time."""
    manifests = overlay(name)
    if name == "production":
        scaler = manifests.one("HorizontalPodAutoscaler")["spec"]
        target, behavior = scaler["scaleTargetRef"]["name"], scaler["behavior"]
        metric, per_pod = (
            scaler["metrics"][0]["pods"]["metric"]["name"],
            scaler["metrics"][0]["pods"]["target"]["averageValue"],
        )
    else:
        assert not manifests.all("HorizontalPodAutoscaler"), "KEDA makes its own"
        scaler = manifests.one("ScaledObject")["spec"]
        target, behavior = (
            scaler["scaleTargetRef"]["name"],
            scaler["advanced"]["horizontalPodAutoscalerConfig"]["behavior"],
        )
        metric, per_pod = scaler["triggers"][0]["metadata"]["query"], scaler["triggers"][0]["metadata"]["threshold"]
    assert target == "event-gateway"
    assert "gateway_connections" in metric
    assert int(per_pod) < 0.7 * int(manifests.environment["GATEWAY_MAX_CONNECTIONS"])
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] >= 600
    assert behavior["scaleDown"]["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 300}]


async def test_the_metric_that_scales_is_told() -> None:
    """By a gateway, under the name that the autoscalers ask for."""
    async with served() as gateway, gateway.http.get("/metrics") as response:
        assert 'gateway_connections{state="live"}' in await response.text()


def test_prometheus_finds_the_metrics() -> None:
    """The ServiceMonitor's labels are one Service's, its port that Service's, its path one of the internal port."""
    manifests = overlay("production")
    monitor = manifests.one("ServiceMonitor")["spec"]
    (service,) = [s for s in manifests.all("Service") if matches(monitor["selector"]["matchLabels"], s)]
    (endpoint,) = monitor["endpoints"]
    assert endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
    assert endpoint["path"] in paths_of(sites.internal_routes())


def test_dev_is_whole(tmp_path: Path) -> None:
    """It brings its Redis and its secrets, and reaches that Redis by the name it has."""
    manifests = overlay("dev")
    secret = manifests.one("Secret")
    (mounted,) = [v["secret"]["secretName"] for v in manifests.pod["spec"]["volumes"] if "secret" in v]
    assert mounted == secret["metadata"]["name"]
    assert manifests.one("Service", "redis")["spec"]["ports"][0]["port"] == 6379
    assert manifests.settings(tmp_path).settings.broker_url == "redis://redis:6379/0"


def test_production_has_no_secret_in_it() -> None:
    assert not overlay("production").all("Secret")
