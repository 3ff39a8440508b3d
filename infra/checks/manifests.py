"""Renders Kubernetes objects, and answers questions of tests about them."""

import json
import os
import re
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path

import project
import yaml

OVERLAYS = project.ROOT / "k8s/overlays"
WORKLOADS = {"Deployment", "StatefulSet", "Job", "CronJob"}
# Servers in the namespace that other operators run, with the labels by which policies select their pods.
SERVERS = {"nats": {"app.kubernetes.io/component": "nats"}, "postgres": {"tickbell.dev/server": "postgres"}}

# Components that no overlay uses: each replaces one of staging.
ALTERNATIVES = {
    "ingress": {"gateway-api": "ingress"},
    "vault": {"external-secrets/aws": "external-secrets/vault"},
    "managed-postgres": {"cloudnative-pg": "managed-postgres"},
    "rolling": {"blue-green": "hpa"},
    "in-flight": {"blue-green": "blue-green keda/gateway"},
    "argo-rollouts": {"blue-green": "hpa argo-rollouts"},
}
ALTERNATIVE_VALUES = {
    "vault": "https://vault.tickbell.example",
    "loadBalancerCidr": "10.1.0.0/20",
    "databaseCidr": "10.1.16.0/20",
    "certificateArn": "arn:aws:acm:eu-central-1:111122223333:certificate/1",
    "securityGroup": "sg-0123456789abcdef0",
    "webAclArn": "arn:aws:wafv2:eu-central-1:111122223333:regional/webacl/tickbell/1",
}
# Stands in place of a schema for core kinds, because kubernetes-validate has their schemas.
KUBERNETES = "kubernetes"

Edge = tuple[str, str, int]


@cache
def build(folder: Path) -> list[dict]:
    """Returns the objects that kustomize renders from a folder."""
    text = project.output(project.tool("kustomize"), "build", folder)
    # The loader in C, because the rules are long.
    return [document for document in yaml.load_all(text, yaml.CSafeLoader) if document]


def overlay(name: str) -> list[dict]:
    """Returns the objects of an overlay."""
    return build(OVERLAYS / name)


@cache
def alternative(name: str) -> list[dict]:
    """Returns the objects of staging with one component replaced by another."""
    replacements = ALTERNATIVES[name]
    content = yaml.safe_load((OVERLAYS / "staging/kustomization.yaml").read_text())
    listed = [path.removeprefix("../components/") for path in content["components"]]
    assert set(replacements) <= set(listed)
    used = " ".join(replacements.get(path, path) for path in listed).split()
    with tempfile.TemporaryDirectory() as folder:
        content["components"] = [os.path.relpath(OVERLAYS / "components" / path, folder) for path in used]
        content["resources"] = [os.path.relpath(project.ROOT / "k8s/base", folder)]
        values = content["configMapGenerator"][0]["literals"]
        values += [f"{key}={value}" for key, value in ALTERNATIVE_VALUES.items()]
        Path(folder, "kustomization.yaml").write_text(yaml.safe_dump(content))
        return build(Path(folder))


def rendered(name: str) -> list[dict]:
    """Returns the objects of an overlay or of an alternative to staging."""
    return alternative(name) if name in ALTERNATIVES else overlay(name)


def of_kind(objects: list[dict], *kinds: str) -> list[dict]:
    """Returns the objects of some kinds."""
    return [item for item in objects if item["kind"] in kinds]


def named(objects: list[dict], kind: str, name: str) -> dict:
    """Returns the only object of a kind with a name, without the hash that kustomize appends."""
    found = [item for item in of_kind(objects, kind) if plain(item["metadata"]["name"]) == name]
    assert len(found) == 1, f"{len(found)} of {kind} {name}"
    return found[0]


def plain(name: str) -> str:
    """Returns a name without the hash of a generated ConfigMap or Secret."""
    return re.sub(r"-[a-z0-9]{10}$", "", name)


def validate(objects: list[dict], folder: Path) -> None:
    """Fails unless every object fits its schema; validates equal objects once. Writes into an empty folder."""
    by_schema: dict[str, set[str]] = {}
    for item in objects:
        schema, value = schema_of(item)
        by_schema.setdefault(schema, set()).add(json.dumps(value, sort_keys=True))
    for number, (schema, values) in enumerate(by_schema.items()):
        inside = folder / str(number)
        inside.mkdir()
        if schema == KUBERNETES:
            (inside / "core.yaml").write_text("---\n".join(value + "\n" for value in values))
            project.output(project.tool("kubernetes-validate"), "--strict", "--quiet", inside / "core.yaml")
            continue
        (inside / "schema").write_text(schema)
        for index, value in enumerate(values):
            (inside / f"{index}.json").write_text(value)
        command = [project.tool("check-jsonschema"), "--regex-variant", "python", "--schemafile", inside / "schema"]
        project.output(*command, *inside.glob("*.json"))


def schema_of(item: dict) -> tuple[str, dict]:
    """Returns the text of an object's schema, and the part of the object that it describes."""
    if is_core(item):
        return KUBERNETES, item
    if item["kind"] == "ObjectStore":
        # There is no schema of the backup plugin's kind; its configuration has the schema of a Cluster's own backup.
        cluster = json.loads((project.CRDS / "cluster.postgresql.cnpg.io.v1.json").read_text())
        backup = cluster["properties"]["spec"]["properties"]["backup"]["properties"]["barmanObjectStore"]
        return json.dumps(backup), item["spec"]["configuration"]
    group, _, version = item["apiVersion"].partition("/")
    file = project.CRDS / f"{item['kind'].lower()}.{group}.{version}.json"
    assert file.is_file(), f"no schema of {item['kind']}"
    # Go accepts flags anywhere in a pattern, Python only at its start.
    return file.read_text().replace('"^(?i)', '"(?i)^'), item


def title(item: dict) -> str:
    """Returns the name of an object for messages."""
    return f"{item['kind']} {item['metadata']['name']}"


def is_core(item: dict) -> bool:
    """Returns whether the kind belongs to Kubernetes itself."""
    group = item["apiVersion"].rpartition("/")[0]
    return "." not in group or (group.endswith(".k8s.io") and not group.startswith("gateway."))


def template(workload: dict) -> dict:
    """Returns the pod template of a workload."""
    spec = workload["spec"]
    if workload["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    return spec["template"]


def templates(objects: list[dict]) -> list[tuple[str, dict]]:
    """Returns every pod template with the name of its object, including those that an analysis starts."""
    found = [(title(item), template(item)) for item in of_kind(objects, *WORKLOADS)]
    for item in of_kind(objects, "AnalysisTemplate"):
        jobs = [metric["provider"]["job"] for metric in item["spec"]["metrics"] if "job" in metric["provider"]]
        found += [(title(item), job["spec"]["template"]) for job in jobs]
    return found


def containers(pod: dict) -> list[dict]:
    """Returns all containers of a pod's spec."""
    return pod.get("initContainers", []) + pod.get("ephemeralContainers", []) + pod["containers"]


def matches(selector: dict, labels: dict[str, str]) -> bool:
    """Returns whether a label selector matches a pod with these labels."""
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for rule in selector.get("matchExpressions", []):
        value = labels.get(rule["key"])
        met = {
            "In": value in rule.get("values", []),
            "NotIn": value not in rule.get("values", []),
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }
        if not met[rule["operator"]]:
            return False
    return True


def environment(container: dict, objects: list[dict], secrets: dict[str, dict[str, str]]) -> dict[str, str]:
    """Returns a container's variables: the image's, then those of ConfigMaps and Secrets in order, then its own."""
    values = dict(project.image_environment())
    for source in container.get("envFrom", []):
        if reference := source.get("configMapRef"):
            values |= named(objects, "ConfigMap", plain(reference["name"]))["data"]
        else:
            values |= secrets[plain(source["secretRef"]["name"])]
    return values | {item["name"]: item["value"] for item in container.get("env", [])}


def arguments(container: dict, variables: dict[str, str]) -> list[str]:
    """Returns the arguments of a container with $(VARIABLES) replaced, as the kubelet does it."""
    return [re.sub(r"\$\((\w+)\)", lambda found: variables[found[1]], text) for text in container["args"]]


def secret_references(value: object) -> set[str]:
    """Returns the names of all Secrets that an object refers to, at any depth."""
    if isinstance(value, list):
        return set().union(*map(secret_references, value))
    if not isinstance(value, dict):
        return set()
    found = set().union(*map(secret_references, value.values()))
    for key, inner in value.items():
        if key in ("secretRef", "secretKeyRef", "passwordSecret", "secret", "superuserSecret") and isinstance(
            inner, dict
        ):
            found.add(inner.get("name") or inner.get("secretName"))
        elif key in ("serverCASecret", "serverTLSSecret", "clientCASecret", "replicationTLSSecret"):
            found.add(inner)
        elif key == "certificateRefs":
            found |= {reference["name"] for reference in inner}
    return found


def pods(objects: list[dict]) -> dict[str, dict[str, str]]:
    """Returns the labels of every kind of pod in the namespace, by name; the gateway's colours are one kind."""
    found = dict(SERVERS)
    for _, pod in templates(objects):
        labels = pod["metadata"]["labels"]
        found[labels["app.kubernetes.io/name"]] = labels
    return found


def edges(objects: list[dict]) -> tuple[Counter[Edge], Counter[Edge]]:
    """Returns every (from, to, port) that policies allow as egress, and as ingress, with the number of rules."""
    leaving: Counter[Edge] = Counter()
    arriving: Counter[Edge] = Counter()
    kinds = pods(objects)
    for policy in of_kind(objects, "NetworkPolicy"):
        spec = policy["spec"]
        here = [name for name, labels in kinds.items() if matches(spec["podSelector"], labels)]
        for rule in spec.get("egress", []):
            leaving.update((name, *end) for name in here for end in ends(rule, "to", kinds))
        for rule in spec.get("ingress", []):
            arriving.update((peer, name, port) for name in here for peer, port in ends(rule, "from", kinds))
    return leaving, arriving


def ends(rule: dict, side: str, kinds: dict[str, dict[str, str]]) -> list[tuple[str, int]]:
    """Returns the peers and ports of a rule; a rule without either would allow everything, and fails here."""
    return [(name, port["port"]) for peer in rule[side] for name in peers(peer, kinds) for port in rule["ports"]]


def peers(peer: dict, kinds: dict[str, dict[str, str]]) -> list[str]:
    """Returns the names of the pods or ranges that a policy's peer selects."""
    if block := peer.get("ipBlock"):
        return ["outside" if "except" in block else block["cidr"]]
    if namespace := peer.get("namespaceSelector"):
        labels = peer.get("podSelector", {}).get("matchLabels", {})
        name = namespace["matchLabels"]["kubernetes.io/metadata.name"]
        return ["/".join([name, *labels.values()])]
    return [name for name, labels in kinds.items() if matches(peer["podSelector"], labels)]
