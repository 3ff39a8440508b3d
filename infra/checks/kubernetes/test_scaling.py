"""Autoscalers: one for each Deployment, by metrics that something serves."""

import re

import manifests
import project
import pytest
import yaml
from manifests import containers, named, of_kind, template, title
from promql import metrics_of

EVERYTHING = ["staging", "production", *manifests.ALTERNATIVES]
# The instances of these share their work; of the others one instance is the leader.
SCALABLE = {"gateway", "notifier"}


def scalers(objects: list[dict]) -> list[dict]:
    return of_kind(objects, "HorizontalPodAutoscaler", "ScaledObject")


def target(objects: list[dict], scaler: dict) -> dict:
    """Returns the object whose replicas an autoscaler sets."""
    reference = scaler["spec"]["scaleTargetRef"]
    return named(objects, reference.get("kind", "Deployment"), reference["name"])


@pytest.mark.parametrize("name", EVERYTHING)
def test_at_most_one_autoscaler_targets_a_deployment(name):
    objects = manifests.rendered(name)
    targets = [title(target(objects, scaler)) for scaler in scalers(objects)]
    assert len(targets) == len(set(targets)) >= 2
    for scaler in scalers(objects):
        found = target(objects, scaler)
        assert "replicas" not in found["spec"], f"{title(found)} would be reset at every deployment"
        assert found["metadata"]["labels"]["app.kubernetes.io/name"] in SCALABLE


@pytest.mark.parametrize("name", EVERYTHING)
def test_every_metric_of_an_autoscaler_is_served(name):
    # An HPA with a metric that nobody serves scales up by the others, and never down.
    objects = manifests.rendered(name)
    for scaler in scalers(objects):
        kind = resource_metrics if scaler["kind"] == "HorizontalPodAutoscaler" else triggers
        assert kind(objects, scaler) == [], title(scaler)


def resource_metrics(objects: list[dict], scaler: dict) -> list[str]:
    """Returns the metrics of an HPA that nothing serves. The metrics server serves those of resources; no adapter is shipped."""
    chart = yaml.safe_load((project.ROOT / "k8s/charts/monitoring/Chart.yaml").read_text())
    assert not [item["name"] for item in chart["dependencies"] if "adapter" in item["name"]]
    missing = [metric for metric in scaler["spec"]["metrics"] if metric["type"] != "Resource"]
    wanted = [metric["resource"]["name"] for metric in scaler["spec"]["metrics"] if metric["type"] == "Resource"]
    return [str(metric) for metric in missing] + without_request(objects, scaler, wanted)


def without_request(objects: list[dict], scaler: dict, resources: list[str]) -> list[str]:
    """Returns the resources of which a container of the target requests nothing: a share of nothing is no metric."""
    found = target(objects, scaler)
    if found["kind"] == "Rollout":
        found = named(objects, "Deployment", found["spec"]["workloadRef"]["name"])
    pods = containers(template(found)["spec"])
    return [name for name in resources for container in pods if name not in container["resources"]["requests"]]


def triggers(objects: list[dict], scaler: dict) -> list[str]:
    """Returns the triggers of a ScaledObject that nothing serves."""
    streams = {item["spec"]["name"] for item in of_kind(objects, "Stream")}
    consumers = {item["spec"]["durableName"]: item["spec"]["streamName"] for item in of_kind(objects, "Consumer")}
    own = {"namespace", "colour"} | set().union(*project.own_labels().values())
    missing = []
    for trigger in scaler["spec"]["triggers"]:
        given = trigger["metadata"]
        if trigger["type"] == "cpu":
            served = not without_request(objects, scaler, ["cpu"])
        elif trigger["type"] == "nats-jetstream":
            served = given["stream"] in streams and consumers.get(given["consumer"]) == given["stream"]
        else:
            assert trigger["type"] == "prometheus"
            # The Service that the Prometheus operator makes, as the dashboards find it.
            address = given["serverAddress"] == f"http://prometheus-operated.{prometheus_namespace()}:9090"
            names, labels = metrics_of(given["query"]), set(re.findall(r"(\w+)=", given["query"]))
            served = address and bool(names) and names <= project.own_metrics() and labels <= own
        if not served:
            missing.append(str(trigger))
    return missing


def prometheus_namespace() -> str:
    policies = of_kind(manifests.overlay("production"), "NetworkPolicy")
    (found,) = {
        peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
        for policy in policies
        for rule in policy["spec"].get("ingress", [])
        for peer in rule.get("from", [])
        if peer.get("podSelector", {}).get("matchLabels") == {"app.kubernetes.io/name": "prometheus"}
    }
    return found


def test_a_metric_that_nobody_serves_is_found():
    objects = manifests.rendered("staging")
    scaler = of_kind(objects, "HorizontalPodAutoscaler")[0]
    pods = {"type": "Pods", "pods": {"metric": {"name": "tickbell_http_requests_in_flight"}}}
    assert resource_metrics(objects, {**scaler, "spec": {**scaler["spec"], "metrics": [pods]}}) == [str(pods)]
