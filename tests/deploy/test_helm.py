"""deploy/helm: a chart that Helm has nothing against, and that gives what the production overlay gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from deploy.chart import Refused, lint, notes, rendered
from deploy.manifests import Manifest, Manifests, judge, overlay

VARIANTS: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "keda": {"autoscaling": {"keda": {"enabled": True}}},
    "nothing but the gateway": {
        "autoscaling": {"enabled": False},
        "route": {"enabled": False},
        "networkPolicy": {"enabled": False},
        "monitoring": {"enabled": False},
    },
    "all that can be said": {
        "fullnameOverride": "events",
        "image": {"repository": "r.example.com/g", "tag": "1", "pullPolicy": "Always"},
        "imagePullSecrets": [{"name": "r"}],
        "secrets": {"GATEWAY_JWT_SECRET": None, "GATEWAY_JWT_PUBLIC_KEY": "public.pem"},
        "settings": {"GATEWAY_PORT": "9000", "GATEWAY_DRAIN_SECONDS": "0.5"},
        "pod": {
            "nodeSelector": {"kubernetes.io/arch": "amd64"},
            "tolerations": [{"key": "edge", "operator": "Exists"}],
            "priorityClassName": "system-cluster-critical",
        },
        "podAnnotations": {"a": "b"},
        "monitoring": {"labels": {"release": "prometheus"}},
    },
}
OF_HELM = ("app.kubernetes.io/instance", "app.kubernetes.io/version", "app.kubernetes.io/managed-by", "helm.sh/chart")

every_variant = pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS.keys())


def comparable(thing: Any) -> Any:
    """Without the labels that only Helm sets."""
    if isinstance(thing, dict):
        return {key: comparable(value) for key, value in thing.items() if key not in OF_HELM}
    return [comparable(item) for item in thing] if isinstance(thing, list) else thing


def spec(manifests: Manifests, item: Manifest) -> Any:
    """What an object says, its name aside; the gateway's environment by what it is, not by how it comes there."""
    said = comparable({key: item[key] for key in item if key not in ("metadata", "apiVersion", "kind")})
    if item["kind"] == "Deployment":
        (container,) = said["spec"]["template"]["spec"]["containers"]
        container.pop("env", None)
        container.pop("envFrom", None)
        container["environment"] = manifests.environment
    return said


@every_variant
def test_helm_has_nothing_against_it(values: dict[str, Any]) -> None:
    """Not even a warning."""
    assert lint(values) == []


@every_variant
def test_it_is_what_the_cluster_takes(values: dict[str, Any]) -> None:
    """Every object, strictly by its kind's schema."""
    for item in rendered(values).objects:
        judge(item)


@pytest.mark.parametrize(("values", "name"), [({}, "production"), (VARIANTS["keda"], "keda")], ids=["hpa", "keda"])
def test_it_is_the_overlay(values: dict[str, Any], name: str) -> None:
    """Object by object the same as kustomize's, but for the namespace and the way of the settings."""
    chart, kustomize = rendered(values), overlay(name)
    theirs = {(item["kind"], item["metadata"]["name"]): item for item in kustomize.objects}
    ours = {(item["kind"], item["metadata"]["name"]): item for item in chart.objects}
    assert ours.keys() == {key for key in theirs if key[0] not in ("Namespace", "ConfigMap")}
    for key, item in ours.items():
        assert spec(chart, item) == spec(kustomize, theirs[key]), key


def test_the_gateway_starts_with_its_settings(tmp_path: Path) -> None:
    """No unknown name, nothing that contradicts: with the secrets where they are mounted it would serve."""
    assert not rendered().settings(tmp_path).warnings


def test_what_is_set_is_followed() -> None:
    """Names, ports, grace and secrets, in all places that speak of them."""
    manifests = rendered(VARIANTS["all that can be said"])
    pod = manifests.one("Deployment", "events")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    environment = {item["name"]: item["value"] for item in container["env"]}
    assert container["image"] == "r.example.com/g:1"
    assert container["ports"][0]["containerPort"] == 9000
    assert pod["terminationGracePeriodSeconds"] == 5 + 1 + 15
    assert environment["GATEWAY_JWT_PUBLIC_KEY_FILE"] == "/run/secrets/event-gateway/public.pem"
    assert "GATEWAY_JWT_SECRET_FILE" not in environment
    assert manifests.one("HTTPRoute", "events")["spec"]["rules"][0]["backendRefs"][0]["name"] == "events"
    assert manifests.one("HorizontalPodAutoscaler", "events")["spec"]["scaleTargetRef"]["name"] == "events"
    assert manifests.one("ServiceMonitor", "events")["metadata"]["labels"]["release"] == "prometheus"


def test_two_releases_are_apart() -> None:
    """In one namespace: neither selects the other's pods."""
    one, two = (rendered(release=release) for release in ("one", "two"))
    assert (
        one.one("Service", "one-event-gateway")["spec"]["selector"]
        != (two.one("Service", "two-event-gateway")["spec"]["selector"])
    )


def test_without_an_autoscaler_there_are_replicas() -> None:
    deployment = rendered(VARIANTS["nothing but the gateway"]).one("Deployment")
    assert deployment["spec"]["replicas"] == 3


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"repliacs": 3}, "'repliacs' not allowed"),
        ({"settings": {"GATEWAY_DRAIN_SECONDS": 20}}, "/settings/GATEWAY_DRAIN_SECONDS"),
        ({"settings": {"drain_seconds": "20"}}, "drain_seconds"),
        ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy"),
    ],
)
def test_wrong_values_are_refused_by_name(values: dict[str, Any], said: str) -> None:
    """Before anything is sent to a cluster."""
    with pytest.raises(Refused, match=said):
        rendered(values)


def test_it_says_what_to_do_next() -> None:
    """Which Secret it takes, and the two addresses."""
    said = notes()
    assert "jwt-secret (GATEWAY_JWT_SECRET)" in said
    assert "https://events.example.com/v1/events" in said
    assert "GATEWAY_PUBLISHER_URL=http://event-gateway-internal.event-gateway\n" in said
