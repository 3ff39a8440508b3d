"""Rendered Kubernetes objects, and the questions that tests ask of them."""

import json
import os
import re
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path

import house
import yaml

OVERLAYS = house.ROOT / "k8s/overlays"
WORKLOADS = {"Deployment", "StatefulSet", "Job", "CronJob"}
# Servers that others run in the namespace, and how policies know their pods.
SERVERS = {"nats": {"app.kubernetes.io/component": "nats"}, "postgres": {"tickbell.dev/server": "postgres"}}

# Components that no overlay has, each in the place of one that staging has.
ALTERNATIVES = {
    "ingress": {"gateway-api": "ingress"},
    "vault": {"external-secrets/aws": "external-secrets/vault"},
    "managed-postgres": {"cloudnative-pg": "managed-postgres"},
    "rolling": {"blue-green": "hpa"},
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
# Instead of a schema: kubernetes-validate has them.
KUBERNETES = "kubernetes"

Edge = tuple[str, str, int]


@cache
def build(folder: Path) -> list[dict]:
    """What kustomize makes of a folder."""
    text = house.output(house.tool("kustomize"), "build", folder)
    # The loader in C: rules are long.
    return [document for document in yaml.load_all(text, yaml.CSafeLoader) if document]


def overlay(name: str) -> list[dict]:
    """What an overlay renders to."""
    return build(OVERLAYS / name)


@cache
def alternative(name: str) -> list[dict]:
    """Staging with one component exchanged for another."""
    exchange = ALTERNATIVES[name]
    content = yaml.safe_load((OVERLAYS / "staging/kustomization.yaml").read_text())
    listed = [path.removeprefix("../components/") for path in content["components"]]
    assert set(exchange) <= set(listed)
    used = " ".join(exchange.get(path, path) for path in listed).split()
    with tempfile.TemporaryDirectory() as folder:
        content["components"] = [os.path.relpath(OVERLAYS / "components" / path, folder) for path in used]
        content["resources"] = [os.path.relpath(house.ROOT / "k8s/base", folder)]
        values = content["configMapGenerator"][0]["literals"]
        values += [f"{key}={value}" for key, value in ALTERNATIVE_VALUES.items()]
        Path(folder, "kustomization.yaml").write_text(yaml.safe_dump(content))
        return build(Path(folder))


def rendered(name: str) -> list[dict]:
    """What an overlay or an alternative to staging renders to."""
    return alternative(name) if name in ALTERNATIVES else overlay(name)


def of_kind(objects: list[dict], *kinds: str) -> list[dict]:
    """The objects of some kinds."""
    return [item for item in objects if item["kind"] in kinds]


def named(objects: list[dict], kind: str, name: str) -> dict:
    """The one object of a kind with a name; a hash that kustomize appends does not count."""
    found = [item for item in of_kind(objects, kind) if plain(item["metadata"]["name"]) == name]
    assert len(found) == 1, f"{len(found)} of {kind} {name}"
    return found[0]


def plain(name: str) -> str:
    """A name without the hash of a generated ConfigMap or Secret."""
    return re.sub(r"-[a-z0-9]{10}$", "", name)


def validate(objects: list[dict], folder: Path) -> None:
    """Fails unless every object fits its schema; equal ones are looked at once. Writes into an empty folder."""
    by_schema: dict[str, set[str]] = {}
    for item in objects:
        schema, value = schema_of(item)
        by_schema.setdefault(schema, set()).add(json.dumps(value, sort_keys=True))
    for number, (schema, values) in enumerate(by_schema.items()):
        inside = folder / str(number)
        inside.mkdir()
        if schema == KUBERNETES:
            (inside / "core.yaml").write_text("---\n".join(value + "\n" for value in values))
            house.output(house.tool("kubernetes-validate"), "--strict", "--quiet", inside / "core.yaml")
            continue
        (inside / "schema").write_text(schema)
        for place, value in enumerate(values):
            (inside / f"{place}.json").write_text(value)
        command = [house.tool("check-jsonschema"), "--regex-variant", "python", "--schemafile", inside / "schema"]
        house.output(*command, *inside.glob("*.json"))


def schema_of(item: dict) -> tuple[str, dict]:
    """The text of an object's schema, and the part of the object that it is about."""
    if is_core(item):
        return KUBERNETES, item
    if item["kind"] == "ObjectStore":
        # The backup plugin's own kind is not among the schemas; its configuration is what a Cluster may still hold.
        cluster = json.loads((house.CRDS / "cluster.postgresql.cnpg.io.v1.json").read_text())
        backup = cluster["properties"]["spec"]["properties"]["backup"]["properties"]["barmanObjectStore"]
        return json.dumps(backup), item["spec"]["configuration"]
    group, _, version = item["apiVersion"].partition("/")
    file = house.CRDS / f"{item['kind'].lower()}.{group}.{version}.json"
    assert file.is_file(), f"no schema of {item['kind']}"
    # Go takes flags anywhere in a pattern, Python at its start.
    return file.read_text().replace('"^(?i)', '"(?i)^'), item


def title(item: dict) -> str:
    """How a message names an object."""
    return f"{item['kind']} {item['metadata']['name']}"


def is_core(item: dict) -> bool:
    """Whether Kubernetes itself knows the kind."""
    group = item["apiVersion"].rpartition("/")[0]
    return "." not in group or (group.endswith(".k8s.io") and not group.startswith("gateway."))


def template(workload: dict) -> dict:
    """The pod template of a workload."""
    spec = workload["spec"]
    if workload["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    return spec["template"]


def templates(objects: list[dict]) -> list[tuple[str, dict]]:
    """Every pod template with the name of its object, also those that an analysis starts."""
    found = [(title(item), template(item)) for item in of_kind(objects, *WORKLOADS)]
    for item in of_kind(objects, "AnalysisTemplate"):
        jobs = [metric["provider"]["job"] for metric in item["spec"]["metrics"] if "job" in metric["provider"]]
        found += [(title(item), job["spec"]["template"]) for job in jobs]
    return found


def containers(pod: dict) -> list[dict]:
    """All containers of a pod's spec."""
    return pod.get("initContainers", []) + pod.get("ephemeralContainers", []) + pod["containers"]


def matches(selector: dict, labels: dict[str, str]) -> bool:
    """Whether a label selector selects a pod with these labels."""
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
    """The variables of a container as it starts: the image's, then ConfigMaps and Secrets in order, then its own."""
    values = dict(house.image_environment())
    for source in container.get("envFrom", []):
        if reference := source.get("configMapRef"):
            values |= named(objects, "ConfigMap", plain(reference["name"]))["data"]
        else:
            values |= secrets[plain(source["secretRef"]["name"])]
    return values | {item["name"]: item["value"] for item in container.get("env", [])}


def arguments(container: dict, variables: dict[str, str]) -> list[str]:
    """The arguments of a container with its $(VARIABLES) filled in, as the kubelet does it."""
    return [re.sub(r"\$\((\w+)\)", lambda found: variables[found[1]], text) for text in container["args"]]


def secret_references(value: object) -> set[str]:
    """The name of every Secret that an object mentions, anywhere."""
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
    """The labels of every kind of pod in the namespace, by its name; the colours of the gateway are one kind."""
    found = dict(SERVERS)
    for _, pod in templates(objects):
        labels = pod["metadata"]["labels"]
        found[labels["app.kubernetes.io/name"]] = labels
    return found


def edges(objects: list[dict]) -> tuple[Counter[Edge], Counter[Edge]]:
    """Every (from, to, port) that the policies let out, and every one that they let in, counted by rule."""
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
    """Who is at the other end of a rule, at which ports. A rule that leaves out one of them would allow everything."""
    return [(name, port["port"]) for peer in rule[side] for name in peers(peer, kinds) for port in rule["ports"]]


def peers(peer: dict, kinds: dict[str, dict[str, str]]) -> list[str]:
    """The names of those whom a policy's peer means."""
    if block := peer.get("ipBlock"):
        return ["outside" if "except" in block else block["cidr"]]
    if namespace := peer.get("namespaceSelector"):
        labels = peer.get("podSelector", {}).get("matchLabels", {})
        name = namespace["matchLabels"]["kubernetes.io/metadata.name"]
        return ["/".join([name, *labels.values()])]
    return [name for name, labels in kinds.items() if matches(peer["podSelector"], labels)]
