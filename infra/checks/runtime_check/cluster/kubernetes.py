"""Reads rendered objects as a cluster does: pods with their environment, mounts, probes and labels."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import project

from runtime_check.processes import images
from runtime_check.processes.container import Container, Mount
from runtime_check.processes.namespaces import Failure

# The fields of a pod and of a container that this runner applies, and those that make no difference to a process.
POD_SUPPORTED = {"containers", "volumes", "terminationGracePeriodSeconds", "securityContext"}
POD_IGNORED = {
    "serviceAccountName", "automountServiceAccountToken", "enableServiceLinks", "restartPolicy",
    "priorityClassName", "topologySpreadConstraints", "affinity", "nodeSelector", "tolerations",
}  # fmt: skip
SUPPORTED = {
    "name", "image", "args", "command", "env", "envFrom", "ports", "volumeMounts", "securityContext",
    "startupProbe", "readinessProbe",
}  # fmt: skip
IGNORED = {"imagePullPolicy", "resources", "livenessProbe"}


@dataclass
class Pod:
    """A pod to run, with what only the cluster knows about it."""

    container: Container
    labels: dict[str, str]
    namespace: str = "tickbell"
    # Path and port of the startup and the readiness probe, and the seconds within which both must succeed.
    probes: list[tuple[str, int]] = field(default_factory=list)
    probe_deadline: float = 0
    # Named ports.
    ports: dict[str, int] = field(default_factory=dict)


class Cluster:
    """All objects of an overlay."""

    def __init__(self, overlay: Path):
        self.objects = project.documents(project.output(project.tool("kustomize"), "build", overlay))

    def kind(self, kind: str) -> list[dict]:
        return [thing for thing in self.objects if thing["kind"] == kind]

    def one(self, kind: str, name: str) -> dict:
        found = [thing for thing in self.kind(kind) if thing["metadata"]["name"] == name]
        if not found:
            raise Failure(f"the overlay has no {kind} {name}")
        return found[0]

    def settings(self) -> dict[str, str]:
        """Returns the settings that every pod gets from the ConfigMap."""
        found = [thing for thing in self.kind("ConfigMap") if thing["metadata"]["name"].startswith("tickbell-settings")]
        return found[0]["data"]

    def replicas(self, deployment: dict) -> int:
        """Returns the replicas of a Deployment: those of the manifest, or the minimum of its autoscaler."""
        name = deployment["metadata"]["name"]
        if "replicas" in deployment["spec"]:
            return deployment["spec"]["replicas"]
        for scaler, least in (("HorizontalPodAutoscaler", "minReplicas"), ("ScaledObject", "minReplicaCount")):
            for one in self.kind(scaler):
                if one["spec"]["scaleTargetRef"]["name"] == name:
                    return one["spec"][least]
        return 1

    def selected(self, service: str, pods: dict[str, Pod]) -> list[str]:
        """Returns the pods that a Service selects."""
        selector = self.one("Service", service)["spec"]["selector"]
        return [name for name, pod in pods.items() if selector.items() <= pod.labels.items() and pod.probes]

    def is_published(self, path: str) -> bool:
        """Returns whether a route leads from outside to a path of the gateway."""
        matches = [
            match["path"]
            for route in self.kind("HTTPRoute")
            for rule in route["spec"]["rules"]
            if any(backend["name"] == "gateway" for backend in rule.get("backendRefs", []))
            for match in rule["matches"]
        ]
        exact = [match["value"] for match in matches if match["type"] == "Exact"]
        below = [match["value"] for match in matches if match["type"] == "PathPrefix"]
        return path in exact or any(path == prefix or path.startswith(f"{prefix}/") for prefix in below)

    def target(self, service: str, pod: Pod) -> int:
        """Returns the port of a pod that the first port of a Service maps to."""
        port = self.one("Service", service)["spec"]["ports"][0]
        return number(port.get("targetPort", port["port"]), pod.ports)


def templates(cluster: Cluster) -> dict[str, dict]:
    """Returns the template of every pod: all replicas of each Deployment, and each Job and CronJob once."""
    found = {}
    for deployment in cluster.kind("Deployment"):
        for count in range(1, cluster.replicas(deployment) + 1):
            found[f"{deployment['metadata']['name']}-{count}"] = deployment["spec"]["template"]
    for job in cluster.kind("Job"):
        found[job["metadata"]["name"]] = job["spec"]["template"]
    for job in cluster.kind("CronJob"):
        found[job["metadata"]["name"]] = job["spec"]["jobTemplate"]["spec"]["template"]
    return found


def names(cluster: Cluster) -> list[str]:
    return list(templates(cluster))


def pods_of(cluster: Cluster, secrets: dict[str, dict[str, str]], configs: dict[str, dict[str, str]], make_volume):
    """Returns every pod by name. `secrets` and `configs` complement the rendered objects."""
    rendered = {thing["metadata"]["name"]: thing["data"] for thing in cluster.kind("ConfigMap")}
    build = Builder(secrets, {**rendered, **configs}, make_volume)
    return {name: build.pod(name, template) for name, template in templates(cluster).items()}


@dataclass
class Builder:
    secrets: dict[str, dict[str, str]]
    configs: dict[str, dict[str, str]]
    make_volume: object

    def pod(self, name: str, template: dict) -> Pod:
        spec = template["spec"]
        reject_unknown("pod " + name, spec, POD_SUPPORTED | POD_IGNORED)
        if len(spec["containers"]) != 1:
            raise Failure(f"the pod {name} has {len(spec['containers'])} containers, and this runner supports one")
        raw = spec["containers"][0]
        reject_unknown("container of " + name, raw, SUPPORTED | IGNORED)
        image = images.named(raw["image"])
        security = {**spec.get("securityContext", {}), **raw.get("securityContext", {})}
        environment = {**image.environment, **self.environment(name, raw)}
        entrypoint, command = raw.get("command"), raw.get("args")
        container = Container(
            name=name,
            command=[expanded(word, environment) for word in image.command_line(entrypoint, command)],
            environment=environment,
            user=(security["runAsUser"], security["runAsGroup"]),
            workdir=image.workdir,
            read_only=security.get("readOnlyRootFilesystem", False),
            no_capabilities="ALL" in security.get("capabilities", {}).get("drop", []),
            mounts=[self.mount(name, mount, spec) for mount in raw.get("volumeMounts", [])],
            programs=image.programs,
            libraries=image.libraries,
            stop_signal=image.stop_signal,
            grace=spec.get("terminationGracePeriodSeconds", 30),
            own_program=image.own_program,
        )
        ports = {port["name"]: port["containerPort"] for port in raw.get("ports", [])}
        given = [raw[probe] for probe in ("startupProbe", "readinessProbe") if probe in raw]
        probes = [(probe["httpGet"]["path"], number(probe["httpGet"]["port"], ports)) for probe in given]
        probe_deadline = sum(probe.get("periodSeconds", 10) * probe.get("failureThreshold", 3) for probe in given)
        return Pod(container, template["metadata"]["labels"], probes=probes, probe_deadline=probe_deadline, ports=ports)

    def environment(self, name: str, raw: dict) -> dict[str, str]:
        found: dict[str, str] = {}
        for source in raw.get("envFrom", []):
            reference = source.get("configMapRef") or source["secretRef"]
            source_of = self.configs if "configMapRef" in source else self.secrets
            if reference["name"] not in source_of:
                if reference.get("optional"):
                    continue
                raise Failure(f"{name} needs {reference['name']}, which nothing creates")
            found |= source_of[reference["name"]]
        for one in raw.get("env", []):
            found[one["name"]] = self.value(name, one)
        return found

    def value(self, name: str, one: dict) -> str:
        if "value" in one:
            return one["value"]
        kind, reference = next(iter(one["valueFrom"].items()))
        if kind == "fieldRef" and reference["fieldPath"] == "metadata.name":
            return name
        source = {"secretKeyRef": self.secrets, "configMapKeyRef": self.configs}.get(kind)
        if source is None or reference["key"] not in source.get(reference["name"], {}):
            raise Failure(f"{name}: nothing creates the source of {one['name']}: {one['valueFrom']}")
        return source[reference["name"]][reference["key"]]

    def mount(self, name: str, mount: dict, spec: dict) -> Mount:
        volume = next(volume for volume in spec["volumes"] if volume["name"] == mount["name"])
        if "emptyDir" in volume:
            return Mount(mount["mountPath"])
        source = volume.get("configMap", {}).get("name") or volume.get("secret", {}).get("secretName")
        files = {**self.configs, **self.secrets}.get(source)
        if files is None:
            raise Failure(f"{name} mounts {source or volume}, which nothing creates")
        folder = self.make_volume(f"files-{source}")
        for file, text in files.items():
            (folder / file).write_text(text)
        return Mount(mount["mountPath"], folder, read_only=True)


def reject_unknown(what: str, raw: dict, known: set[str]) -> None:
    if unknown := sorted(set(raw) - known):
        raise Failure(f"the {what} has {unknown}, which this runner does not support")


def number(port: int | str, names: dict[str, int]) -> int:
    return names[port] if isinstance(port, str) else port


def expanded(word: str, environment: dict[str, str]) -> str:
    """Replaces $(NAME) in a command; unknown names stay as they are, as in a cluster."""
    return re.sub(r"\$\((\w+)\)", lambda match: environment.get(match[1], match[0]), word)
