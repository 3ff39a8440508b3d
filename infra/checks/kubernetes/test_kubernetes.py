"""The objects that k8s/ renders, by overlay: valid, restricted, isolated and complete."""

import json
import re
from collections import Counter

import manifests
import project
import pytest
from manifests import containers, named, of_kind, overlay, template, templates, title
from restricted import violations

OVERLAYS = ["local", "staging", "production"]
CLUSTERS = ["staging", "production"]
EVERYTHING = [*OVERLAYS, *manifests.ALTERNATIVES]
IMAGE = "ghcr.io/tickbell/tickbell"
# The services that connect to the broker, and those that connect to the database.
BROKER = set(project.services()) - project.WITHOUT_BROKER | {"price-poller"}
DATABASE = set(project.services()) - project.WITHOUT_DATABASE | {"migrate"}
# The paths of the public API. Health and metrics are not public.
PUBLIC = {"/", "/openapi.json", "/docs", "/v1", "/udf", "/compat", "/confirm", "/unsubscribe", "/join", "/reset"}


# --- Valid -----------------------------------------------------------------------------------------------------------


def test_every_object_fits_its_schema(tmp_path):
    objects = [item for name in EVERYTHING for item in manifests.rendered(name)]
    assert {"Stream", "Cluster", "Rollout", "Ingress", "HTTPRoute", "SecretStore"} <= {item["kind"] for item in objects}
    manifests.validate(objects, tmp_path)


def test_every_object_is_found_by_its_label():
    for name in EVERYTHING:
        objects = manifests.rendered(name)
        for item in objects:
            labels = item["metadata"].get("labels", {})
            assert labels.get("app.kubernetes.io/part-of") == "tickbell", f"{title(item)} in {name}"


# Checks of checkov that do not apply, with the reason.
SKIPPED = {
    "CKV_K8S_15": "a tag is a commit and never moves, so there is nothing to pull again",
    "CKV_K8S_43": "an image of ours is made after this file; its tag is the commit",
    "CKV_K8S_35": "the program reads its settings from variables; no Secret is mounted",
    "CKV_K8S_31": "checkov does not see a CronJob's profile; the restricted test here does",
}


def test_checkov_finds_nothing(tmp_path):
    # Without custom resources, because a template of External Secrets makes checkov skip the whole file.
    objects = [item for name in EVERYTHING for item in manifests.rendered(name) if manifests.is_core(item)]
    distinct = {json.dumps(item, sort_keys=True) for item in objects}
    file = tmp_path / "manifests.yaml"
    file.write_text("---\n".join(f"{text}\n" for text in distinct))
    command = [project.tool("checkov"), "--skip-download", "--framework", "kubernetes", "--output", "json", "--compact"]
    report = json.loads(project.run(*command, "--skip-check", ",".join(SKIPPED), "--file", file).stdout)
    assert report["summary"]["parsing_errors"] == 0 and report["summary"]["resource_count"] >= len(distinct) / 2
    failed = report["results"]["failed_checks"]
    assert [f"{item['check_id']} {item['check_name']}: {item['resource']}" for item in failed] == []


# --- Restricted ------------------------------------------------------------------------------------------------------


def test_every_pod_is_restricted():
    for name in EVERYTHING:
        objects = manifests.rendered(name)
        assert len(templates(objects)) >= 7
        for where, pod in templates(objects):
            assert violations(pod["spec"]) == [], f"{where} in {name}"


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_namespace_admits_nothing_else(name):
    (namespace,) = of_kind(overlay(name), "Namespace")
    levels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
    assert levels.items() <= namespace["metadata"]["labels"].items()
    for account in of_kind(overlay(name), "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False, title(account)


# --- Closed ----------------------------------------------------------------------------------------------------------


def wanted_edges(name: str) -> Counter:
    """Returns the connections that the design allows in an overlay, with the number of rules that allow each."""
    objects = overlay(name)
    running = set(manifests.pods(objects))
    found = Counter((service, "nats", port) for service in BROKER for port in (4222, 8222))
    found.update((service, "postgres", 5432) for service in DATABASE)
    found.update((kind, "kube-system/kube-dns", 53) for kind in running for _ in ("UDP", "TCP"))
    found.update(("monitoring/prometheus", service, 8081) for service in running & set(project.services()))
    found["envoy-gateway-system", "gateway", 8080] += 1
    if "coinnews" in running:
        found["price-poller", "coinnews", 8090] += 1
    else:
        found.update((service, "outside", 443) for service in ("price-poller", "price-ingestor"))
    # Into a bucket, and out of it; a laptop has a volume.
    found.update((service, "0.0.0.0/0", 443) for service in ("archiver", "gateway") if name != "local")
    if name == "local":
        found.update(("streams", "nats", port) for port in (4222, 8222))
        found["notifier", "mailpit", 1025] += 1
        return found
    found.update(("notifier", "outside", port) for port in (465, 587))
    # Traces go to the collector, errors to Sentry.
    reporting = running - {"nats", "postgres", "migrate"}
    found.update((kind, "monitoring/opentelemetry-collector", 4318) for kind in reporting)
    found.update((kind, "outside", 443) for kind in reporting)
    # The connections of the servers, their operators and their exporters.
    found["nats", "nats", 6222] += 1
    found["nack", "nats", 4222] += 1
    found["keda/keda-operator", "nats", 8222] += 1
    found["monitoring/prometheus", "nats", 7777] += 1
    found["monitoring/prometheus-postgres-exporter", "postgres", 5432] += 1
    for port in (5432, 8000):
        found["cnpg-system/cloudnative-pg", "postgres", port] += 1
        found["postgres", "postgres", port] += 1
    found.update(("postgres", "0.0.0.0/0", port) for port in (443, 6443))
    return found


@pytest.mark.parametrize("name", OVERLAYS)
def test_policies_allow_exactly_the_connections_of_the_design_at_both_ends(name):
    leaving, arriving = manifests.edges(overlay(name))
    inside = set(manifests.pods(overlay(name)))
    wanted = wanted_edges(name)
    assert leaving == Counter({edge: count for edge, count in wanted.items() if edge[0] in inside})
    assert arriving == Counter({edge: count for edge, count in wanted.items() if edge[1] in inside})


@pytest.mark.parametrize("name", OVERLAYS)
def test_traffic_that_no_policy_names_is_denied(name):
    objects = overlay(name)
    deny = named(objects, "NetworkPolicy", "default-deny")["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for policy in of_kind(objects, "NetworkPolicy"):
        rules = {kind for key, kind in (("ingress", "Ingress"), ("egress", "Egress")) if key in policy["spec"]}
        assert rules <= set(policy["spec"]["policyTypes"]), f"{title(policy)} has rules without their type"
    for kind, labels in manifests.pods(objects).items():
        own = [policy for policy in of_kind(objects, "NetworkPolicy") if policy["metadata"]["name"] == kind]
        assert len(own) == 1 and manifests.matches(own[0]["spec"]["podSelector"], labels), f"{kind} has no policy"


def test_alternatives_change_only_their_own_connections():
    usual = manifests.edges(overlay("staging"))
    for name in manifests.ALTERNATIVES:
        objects = manifests.rendered(name)
        gone = [set(before) - set(after) for before, after in zip(usual, manifests.edges(objects), strict=True)]
        new = [set(after) - set(before) for before, after in zip(usual, manifests.edges(objects), strict=True)]
        if name == "ingress":
            assert gone[1] == {("envoy-gateway-system", "gateway", 8080)} and new[1] == {
                ("10.1.0.0/20", "gateway", 8080)
            }
        elif name == "managed-postgres":
            assert new[0] == {(service, "10.1.16.0/20", 5432) for service in DATABASE} and not new[1]
            assert all("postgres" in edge for edge in gone[0] | gone[1])
        elif name == "argo-rollouts":
            assert {edge for edge in new[0] if edge[2] != 53} == new[1] == {("smoke", "gateway", 8080)}
        else:
            assert gone == new == [set(), set()], name


@pytest.mark.parametrize("name", [*CLUSTERS, "ingress"])
def test_only_public_paths_are_reachable_from_outside(name):
    objects = manifests.rendered(name)
    if name == "ingress":
        rules = named(objects, "Ingress", "gateway")["spec"]["rules"]
        found = {path["path"]: path["pathType"] for rule in rules for path in rule["http"]["paths"]}
    else:
        rules = named(objects, "HTTPRoute", "gateway")["spec"]["rules"]
        found = {match["path"]["value"]: match["path"]["type"] for rule in rules for match in rule["matches"]}
        redirect = named(objects, "HTTPRoute", "gateway-redirect")["spec"]["rules"]
        assert [list(rule) for rule in redirect] == [["filters"]]
    assert set(found) == PUBLIC
    assert found["/"] == found["/openapi.json"] == "Exact"
    services = [service for service in of_kind(objects, "Service") if "type" in service["spec"]]
    assert services == [], "a Service that is reached from outside by itself"


def test_every_page_that_a_mail_links_to_is_public():
    gateway = "".join(path.read_text() for path in project.sources("services/gateway"))
    pages = set(re.findall(r'\.route\("(/\w+)/\{', gateway))
    assert {"/confirm", "/unsubscribe"} <= pages <= PUBLIC


# --- Complete --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_service_has_a_deployment_an_account_a_budget_and_a_scrape_target(name):
    objects = overlay(name)
    # Our own coinnews API only runs where no real one is polled.
    roles = set(project.services()) - (project.DEMO_SERVICES if name == "production" else set())
    ours = [item for item in of_kind(objects, "Deployment") if "tickbell.dev/program" in item["metadata"]["labels"]]
    assert {template(item)["metadata"]["labels"]["app.kubernetes.io/name"] for item in ours} == roles
    for deployment in ours:
        pod = template(deployment)
        labels, service = pod["metadata"]["labels"], pod["metadata"]["labels"]["app.kubernetes.io/name"]
        assert containers(pod["spec"])[0]["args"][0] == labels["app.kubernetes.io/component"] == service
        assert pod["spec"]["serviceAccountName"] == service and named(objects, "ServiceAccount", service)
        budgets = [item for item in of_kind(objects, "PodDisruptionBudget") if selects(item, labels)]
        assert len(budgets) == 1, f"{title(deployment)} has {len(budgets)} disruption budgets"
        assert len(scraped(objects, labels)) == 1, f"{title(deployment)} is scraped by {scraped(objects, labels)}"


def selects(item: dict, labels: dict) -> bool:
    return manifests.matches(item["spec"]["selector"], labels)


def scraped(objects: list[dict], labels: dict) -> list[str]:
    """Returns the Services through which Prometheus finds a pod. They exist even where monitoring is off."""
    selector = {"matchLabels": {"app.kubernetes.io/part-of": "tickbell"}}
    for monitor in of_kind(objects, "ServiceMonitor"):
        assert monitor["spec"]["selector"] == selector
        assert [endpoint["port"] for endpoint in monitor["spec"]["endpoints"]] == ["admin"]
    return [
        service["metadata"]["name"]
        for service in of_kind(objects, "Service")
        if manifests.matches(selector, service["metadata"].get("labels", {}))
        and manifests.matches({"matchLabels": service["spec"]["selector"]}, labels)
        and "admin" in [port["name"] for port in service["spec"]["ports"]]
    ]


@pytest.mark.parametrize("name", OVERLAYS)
def test_deployments_are_replaced_without_a_gap(name):
    for deployment in of_kind(overlay(name), "Deployment"):
        spec, pod = deployment["spec"], template(deployment)["spec"]
        container = containers(pod)[0]
        if not container["image"].startswith(IMAGE):
            continue
        assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0, title(deployment)
        assert pod["priorityClassName"] == named(overlay(name), "PriorityClass", "tickbell")["metadata"]["name"]
        spread = {item["topologyKey"] for item in pod["topologySpreadConstraints"]}
        assert spread == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
        probes = {key: container[key]["httpGet"] for key in container if key.endswith("Probe")}
        alive, ready = ({"path": path, "port": "admin"} for path in ("/healthz", "/readyz"))
        assert probes == {"startupProbe": alive, "livenessProbe": alive, "readinessProbe": ready}, title(deployment)


@pytest.mark.parametrize("name", OVERLAYS)
def test_probes_and_services_name_ports_on_which_the_program_listens(name):
    objects = overlay(name)
    listening = {
        key: int(value.rsplit(":", 1)[1]) for key, value in project.image_environment().items() if "LISTEN" in key
    }
    for where, pod in templates(objects):
        container = containers(pod["spec"])[0]
        ports = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
        component = pod["metadata"]["labels"]["app.kubernetes.io/name"]
        if component in project.services():
            own = listening.get(f"TICKBELL_{component.upper().replace('-', '_')}__LISTEN")
            assert ports == {"admin": listening["TICKBELL_ADMIN__LISTEN"]} | ({"http": own} if own else {}), where
        for service in of_kind(objects, "Service"):
            if manifests.matches({"matchLabels": service["spec"]["selector"]}, pod["metadata"]["labels"]):
                named_ports = {port.get("targetPort", port["name"]) for port in service["spec"]["ports"]}
                assert named_ports <= set(ports), f"{title(service)} names ports that {where} has not"
    texts = [path.read_text() for path in project.sources("services")]
    for path in ("/healthz", "/readyz", "/metrics"):
        assert any(f'"{path}"' in text for text in texts), f"nothing serves {path}"


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_grace_period_is_longer_than_the_drain(name):
    objects = overlay(name)
    settings = {key: int(value) for key, value in project.setting_keys().items() if str(value).isdigit()}
    rendered = named(objects, "ConfigMap", "tickbell-settings")["data"]
    lame_duck = int(rendered["TICKBELL_GATEWAY__LAME_DUCK_SECONDS"])
    drain = int(rendered["TICKBELL_GATEWAY__DRAIN_SECONDS"])
    assert drain >= settings["gateway.request_timeout_seconds"]
    needed = {"gateway": lame_duck + drain, "notifier": settings["smtp.timeout_seconds"]}
    for deployment in of_kind(objects, "Deployment"):
        pod = template(deployment)
        least = needed.get(pod["metadata"]["labels"]["app.kubernetes.io/name"], 0)
        assert pod["spec"].get("terminationGracePeriodSeconds", 30) >= least + 10, title(deployment)


@pytest.mark.parametrize("name", OVERLAYS)
def test_prices_are_polled_every_three_minutes(name):
    job = named(overlay(name), "CronJob", "price-poller")["spec"]
    assert job["schedule"] == "*/3 * * * *" and job["concurrencyPolicy"] == "Forbid"
    assert 0 < job["startingDeadlineSeconds"] < 180
    assert 0 < job["jobTemplate"]["spec"]["activeDeadlineSeconds"] < 180
    assert template(named(overlay(name), "CronJob", "price-poller"))["spec"]["restartPolicy"] == "Never"


@pytest.mark.parametrize("name", CLUSTERS)
def test_both_colours_are_equal_and_one_value_selects_the_live_one(name):
    objects = overlay(name)
    blue, green = (json.dumps(named(objects, "Deployment", f"gateway-{colour}")) for colour in ("blue", "green"))
    assert blue.replace("blue", "green") == green
    values = (manifests.OVERLAYS / name / "kustomization.yaml").read_text()
    (colour,) = re.findall(r"^ +- colour=(\w+)$", values, re.MULTILINE)
    assert named(objects, "Service", "gateway")["spec"]["selector"]["tickbell.dev/colour"] == colour
    for colour in ("blue", "green"):
        assert named(objects, "Service", f"gateway-{colour}")["spec"]["selector"]["tickbell.dev/colour"] == colour


@pytest.mark.parametrize("name", CLUSTERS)
def test_the_database_has_enough_connections_for_all_pods(name):
    objects = overlay(name)
    most = {item["spec"]["scaleTargetRef"]["name"]: item["spec"] for item in of_kind(objects, "ScaledObject")}
    most = {target: spec["maxReplicaCount"] for target, spec in most.items()}
    for item in of_kind(objects, "HorizontalPodAutoscaler"):
        most[item["spec"]["scaleTargetRef"]["name"]] = item["spec"]["maxReplicas"]
    pods = 1  # migrate
    for deployment in of_kind(objects, "Deployment"):
        if template(deployment)["metadata"]["labels"]["app.kubernetes.io/name"] in DATABASE:
            replicas = most.get(deployment["metadata"]["name"]) or deployment["spec"]["replicas"]
            pods += replicas + deployment["spec"]["strategy"]["rollingUpdate"]["maxSurge"]
    each = int(named(objects, "ConfigMap", "tickbell-settings")["data"]["TICKBELL_DATABASE__MAX_CONNECTIONS"])
    parameters = named(objects, "Cluster", "tickbell-postgres")["spec"]["postgresql"]["parameters"]
    # Each process has two connections outside its pool; 20 are for the operator, the exporter and administrators.
    assert pods * (each + 2) + 20 <= int(parameters["max_connections"])
