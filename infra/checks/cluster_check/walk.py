"""The steps of the runbook, each as the person who may, and what must be true after each."""

import json
import os
import re
import subprocess
import time
from pathlib import Path

import manifests
import nats_chart
import project
import yaml

from cluster_check import broker
from cluster_check.broker import Broker
from cluster_check.control_plane import TOOLS, ControlPlane, Failure, wait
from cluster_check.kubelet import Kubelet

NAMESPACE, HELM_NAMESPACE = "tickbell", "tickbell-helm"
# kubectl, but for two commands that need a kubelet: the right to run them is asked for, and nothing else.
KUBECTL = """#!/bin/sh
real={real}
case " $* " in
  *" port-forward "*)
    "$real" --namespace tickbell auth can-i create pods --subresource=portforward --quiet || exit 1
    echo "Forwarding from 127.0.0.1:4711 -> 8080"
    exec sleep 300 ;;
  *" logs "*) exec "$real" --namespace tickbell auth can-i get pods --subresource=log --quiet ;;
esac
exec "$real" "$@"
"""


class Walk:
    """The state of one run."""

    def __init__(self, cluster: ControlPlane, history):
        self.cluster, self.history = cluster, history
        self.began = time.monotonic()
        users = re.findall(r"\$(NATS_PASSWORD_\w+)", (nats_chart.NATS / "users.conf").read_text())
        self.passwords = {name: f"p{number:032x}" for number, name in enumerate(users, start=7)}
        self.broker = Broker(cluster, self.passwords)
        secrets = {
            "nats-tls": self.broker.secret(),
            "nats-jetstream-controller": {
                "username": "jetstream-controller",
                "password": self.passwords["NATS_PASSWORD_JETSTREAM_CONTROLLER"],
            },
        }
        self.kubelet = Kubelet(cluster, secrets, [NAMESPACE, HELM_NAMESPACE])
        self.programs = cluster.folder / "programs"
        self.programs.mkdir()
        for name, text in (
            ("kubectl", KUBECTL.format(real=TOOLS / "bin/kubectl")),
            ("tickbell", "#!/bin/sh\nexit 0\n"),
        ):
            (self.programs / name).write_text(text)
            (self.programs / name).chmod(0o755)

    # --- What people do --------------------------------------------------------------------------------------------------

    def as_person(self, person: str, *command: object, stdin: str | None = None, **variables: str):
        """Runs a command as a person; returns its result."""
        environment = os.environ | {
            "KUBECONFIG": str(self.cluster.kubeconfig(person)),
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "TICKBELL": str(self.programs / "tickbell"),
            "POLL_SECONDS": "0.3",
            "ROLLOUT_TIMEOUT": "15s",
            "HELM_DRIVER": "configmap",
        }
        words = [str(word) for word in command]
        folder = self.history.folder
        return subprocess.run(
            words, cwd=folder, env=environment | variables, input=stdin, capture_output=True, text=True, check=False
        )

    def must(self, person: str, *command: object, stdin: str | None = None, **variables: str) -> str:
        done = self.as_person(person, *command, stdin=stdin, **variables)
        self.cluster.check()
        if done.returncode != 0:
            raise Failure(
                f"{person}: {' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
            )
        return done.stdout

    def refused(self, person: str, reason: str, *command: object, **variables: str) -> None:
        done = self.as_person(person, *command, **variables)
        if done.returncode == 0 or reason not in done.stdout + done.stderr:
            raise Failure(
                f"{person}: {' '.join(map(str, command))} was not refused as {reason!r}: {done.stdout}{done.stderr}"
            )

    def kubectl(self, person: str, *words: object, stdin: str | None = None) -> str:
        return self.must(person, "kubectl", "--namespace", NAMESPACE, *words, stdin=stdin)

    def script(self, name: str, commit: str = "", **variables: str) -> str:
        """Runs a script of infra/scripts as a deployer of production."""
        return self.must("deployer", f"infra/scripts/{name}", ENV="production", COMMIT=commit, **variables)

    def passed(self, what: str) -> None:
        print(f"[{time.monotonic() - self.began:6.1f} s] passed  {what}", flush=True)

    # --- What must be true -----------------------------------------------------------------------------------------------

    def get(self, kind: str, name: str) -> dict:
        return json.loads(self.kubectl("administrator", "get", kind, name, "--output", "json"))

    def runs(self, commit: str, newer: bool) -> None:
        """Fails unless everything but the live colour runs a commit's image with the settings of that commit."""
        live = self.get("service", "gateway")["spec"]["selector"]["tickbell.dev/colour"]
        found = json.loads(self.kubectl("administrator", "get", "deployments,cronjobs", "--output", "json"))["items"]
        for item in found:
            name = item["metadata"]["name"]
            if name == f"gateway-{live}":
                continue
            (container,) = manifests.template(item)["spec"]["containers"]
            (settings,) = [one["configMapRef"]["name"] for one in container["envFrom"] if "configMapRef" in one]
            has = "TICKBELL_NEW__SETTING" in self.get("configmap", settings)["data"]
            if not container["image"].endswith(commit) or has != newer:
                raise Failure(f"{name} runs {container['image']} with {settings}, and not {commit}")
        variables = [
            item["name"]
            for item in manifests.template(self.get("cronjob", "price-poller"))["spec"]["containers"][0]["env"]
        ]
        if ("TICKBELL_NEW__SETTING" in variables) != newer:
            raise Failure(f"the poller has the variables {variables}")

    def stream_age(self, hours: int) -> None:
        wanted = hours * 3600 * 10**9
        wait(f"a TICKS of {hours} h", 60, lambda: self.broker.streams().get("TICKS", {}).get("max_age") == wanted)

    # --- The walk --------------------------------------------------------------------------------------------------------

    def walk(self) -> None:
        self.before_the_first_deployment()
        self.broker_pods()
        self.releases()
        self.failed_release()
        self.streams()
        self.scale()
        self.operate()
        self.helm()
        if "NATS_CHART" not in os.environ:
            print(
                "NOT CHECKED: the official NATS chart itself. NATS_CHART names its folder (helm pull nats/nats --untar)."
            )

    def before_the_first_deployment(self) -> None:
        overlay = "k8s/overlays/production"
        label = "tickbell.dev/applied-by=administrator"
        self.must("administrator", "kubectl", "apply", "--server-side", "-f", "-", stdin=definitions())
        self.must("administrator", "kubectl", "apply", "--server-side", "-f", str(TOOLS / "crds.yml"))
        wait(
            "the kinds",
            30,
            lambda: self.as_person("administrator", "kubectl", "get", "streams,scaledobjects").returncode == 0,
        )
        self.must("administrator", "kubectl", "apply", "-k", overlay, "-l", label)
        self.kubectl(
            "administrator", "create", "configmap", "tickbell-ca", f"--from-file={self.cluster.tls / 'ca.crt'}"
        )
        self.kubelet.start()
        self.passed("before the first deployment, as the administrator")

    def broker_pods(self) -> None:
        """Pod Security admits the pods of the official chart, and refuses them without one container's context."""
        # The StatefulSet gives each pod the volume of its claim.
        claim = {"name": "nats-js", "persistentVolumeClaim": {"claimName": "nats-js-nats-0"}}
        spec = nats_chart.pod()
        spec["volumes"].append(claim)
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "nats-0"}, "spec": spec}
        dry = ("create", "--dry-run=server", "--filename", "-")
        self.kubectl("administrator", *dry, stdin=json.dumps(pod))
        del pod["spec"]["containers"][1]["securityContext"]
        done = self.as_person("administrator", "kubectl", "--namespace", NAMESPACE, *dry, stdin=json.dumps(pod))
        if "violates PodSecurity" not in done.stderr:
            raise Failure(f"a container without a context is admitted: {done.stderr}")
        if chart := os.environ.get("NATS_CHART"):
            compare_with_chart(chart)
            self.passed(f"the chart at {chart} renders what the checks know of it")
        self.broker.start()
        self.controller("--control-loop", "--sync-interval=5s", "--health-probe-bind-address=127.0.0.1:0")
        self.passed("three servers form a cluster, and Pod Security admits their pods")

    def controller(self, *arguments: str) -> None:
        """Starts the JetStream controller as the runbook installs it: without an address of a broker."""
        self.cluster.spawn(
            "jetstream-controller",
            ["-crd-connect", f"--cache-dir={self.cluster.folder}", *arguments]
            + [f"-kubeconfig={self.cluster.kubeconfig('administrator')}"],
            POD_NAME="nack",
            POD_NAMESPACE="nack",
        )

    def releases(self) -> None:
        history = self.history
        self.refused("reader", "forbidden", "infra/scripts/deploy", ENV="production", COMMIT=history.old)
        self.script("deploy", history.old)
        self.script("promote")
        self.runs(history.old, newer=False)
        self.stream_age(24)
        rules = self.broker.streams()["RULES"]
        if rules.get("max_age", 0) != 0 or rules["num_replicas"] != 3:
            raise Failure(f"the controller made RULES with {rules}")
        self.passed("the first deployment, as a deployer; every stream has its limits and three replicas")
        self.script("deploy", history.new)
        self.runs(history.new, newer=True)
        self.script("promote")
        self.stream_age(48)
        self.passed("a release that changes a stream and the settings, and its promotion")
        self.script("rollback")
        self.runs(history.old, newer=False)
        self.stream_age(48)
        self.passed("a rollback: image, settings, poller; the larger stream stays")

    def failed_release(self) -> None:
        self.kubelet.broken = {"notifier"}
        self.refused(
            "deployer", "did not become ready", "infra/scripts/deploy", ENV="production", COMMIT=self.history.new
        )
        self.refused("deployer", "has not ended well", "infra/scripts/promote", ENV="production")
        self.kubelet.broken = set()
        self.script("rollback")
        self.runs(self.history.old, newer=False)
        self.passed("a failed release cannot be promoted, and is rolled back")

    def streams(self) -> None:
        patch = '{"spec":{"maxAge":"96h"}}'
        self.kubectl("deployer", "patch", "stream", "ticks", "--type", "merge", "--patch", patch)
        self.stream_age(96)
        self.refused(
            "deployer", "TICKS maxAge would shrink", "infra/scripts/deploy", ENV="production", COMMIT=self.history.new
        )
        self.passed("a stream is enlarged by hand, and a deployment that would shrink it is refused")
        self.broker.lose_volumes()
        wanted = {item["spec"]["name"] for item in manifests.of_kind(manifests.overlay("production"), "Stream")}
        wait("every stream again", 90, lambda: set(self.broker.streams()) >= wanted)
        self.stream_age(96)
        self.passed("the broker's volumes are lost, and the controller creates every stream again")
        # In its other mode, once it is started again.
        self.cluster.stop("jetstream-controller")
        self.broker.lose_volumes()
        self.controller()
        wait("every stream again", 90, lambda: set(self.broker.streams()) >= wanted)
        self.stream_age(96)
        self.passed("the same without its control loop, by a restart")

    def scale(self) -> None:
        stop = ("scale", "deployment", "trade-settler", "--replicas")
        self.refused("reader", "forbidden", "kubectl", "--namespace", NAMESPACE, *stop, "0")
        for count in (0, 2):
            self.kubectl("deployer", *stop, str(count))
            wait("a scale", 30, lambda: self.get("deployment", "trade-settler")["status"].get("replicas", 0) == count)  # noqa: B023
        self.kubectl("deployer", "patch", "hpa", "gateway-blue", "--patch", '{"spec":{"minReplicas":6}}')
        wait("the HPA", 60, lambda: self.get("deployment", "gateway-blue")["spec"]["replicas"] == 6)
        self.refused("deployer", "forbidden", "kubectl", "--namespace", NAMESPACE, "get", "secrets")
        self.passed("a scale as a deployer, by hand and by the bounds of the HPA")

    def operate(self) -> None:
        self.script("operate", RUN="doctor")
        self.script("operate", RUN="nats stream report")
        # The Job is not run, so the commands of the runbook are run here, as the users that the Job gets.
        system = {"NATS_USER": "system", "NATS_PASSWORD": self.passwords["NATS_PASSWORD_SYSTEM"]}
        operator = {"NATS_USER": "operator", "NATS_PASSWORD": self.passwords["NATS_PASSWORD_OPERATOR"]}
        authority = {"NATS_CA": str(self.cluster.tls / "ca.crt"), "HOME": str(self.cluster.folder)}
        book = " ".join((project.ROOT / "RUNBOOK.md").read_text().split())
        commands = {found.strip('`"') for found in re.findall(r'[`"]nats (?:server|stream) [^`"]+[`"]', book)}
        if len(commands) < 3:
            raise Failure(f"the runbook has only {commands} for the broker")
        for command in sorted(commands):
            user = system if command.startswith("nats server") else operator
            # Nobody is removed from the cluster here.
            words = command.replace("peer-remove NAME --force", "peer-remove --help").split()[1:]
            self.must("deployer", TOOLS / "bin/nats", *words, NATS_URL="tls://nats:4222", **authority, **user)
        self.passed(f"make operate, and at the broker: {', '.join(sorted(commands))}")

    def helm(self) -> None:
        """The chart in a namespace of its own, by a person of the group that may."""
        chart = self.history.folder / "k8s/charts/tickbell"
        helm = project.tool("helm")
        arguments = [
            helm,
            "template",
            "tickbell",
            chart,
            "--namespace",
            HELM_NAMESPACE,
            "--set",
            "administrator.enabled=true",
        ]
        arguments += ["--kube-version", "1.36.3", "--show-only", "templates/administrator.yaml"]
        objects = self.must("administrator", *arguments)
        self.must("administrator", "kubectl", "apply", "-f", "-", stdin=objects)
        upgrade = [helm, "upgrade", "--install", "tickbell", chart, "--namespace", HELM_NAMESPACE]
        upgrade += ["--values", chart / "values-production.yaml", "--set", "postgres.kind=pods", "--history-max", "2"]
        for tag in ("a" * 40, "b" * 40, "c" * 40):
            self.must("helm-deployer", *upgrade, "--set-string", f"image.tag={tag}")
        self.must("helm-deployer", helm, "rollback", "tickbell", "--namespace", HELM_NAMESPACE)
        self.refused("deployer", "forbidden", *upgrade, "--set-string", f"image.tag={'d' * 40}")
        self.passed("helm upgrade and rollback, as a person of the group helm-deployers")


def definitions() -> str:
    """Returns definitions of the kinds of the overlay that no module of Go brings: they accept every field."""
    objects = manifests.overlay("production") + manifests.alternative("rolling")
    kinds = {(item["apiVersion"], item["kind"]) for item in objects if not manifests.is_core(item)}
    kinds.add(("postgresql.cnpg.io/v1", "Backup"))
    made = []
    for api, kind in sorted(kinds):
        group, _, version = api.partition("/")
        if group == "jetstream.nats.io":
            continue
        name = kind.lower()[:-1] + "ies" if kind.endswith("cy") else f"{kind.lower()}s"
        schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        served = {"name": version, "served": True, "storage": True, "subresources": {"status": {}}}
        spec = {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": name, "singular": kind.lower(), "kind": kind},
            "versions": [served | {"schema": {"openAPIV3Schema": schema}}],
        }
        metadata = {"name": f"{name}.{group}"}
        if group.endswith(".k8s.io"):
            metadata["annotations"] = {"api-approved.kubernetes.io": "unapproved, a stand-in"}
        made.append(
            {
                "apiVersion": "apiextensions.k8s.io/v1",
                "kind": "CustomResourceDefinition",
                "metadata": metadata,
                "spec": spec,
            }
        )
    return yaml.safe_dump_all(made)


def compare_with_chart(chart: str) -> None:
    """Fails unless the official chart renders the pods and the configuration that the checks know."""
    users = "configMap.merge.data.users\\.conf=infra/nats/users.conf"
    command = [project.tool("helm"), "template", "nats", chart, "--namespace", NAMESPACE]
    text = project.output(*command, "--values", nats_chart.NATS / "values.yaml", "--set-file", users)
    objects = project.documents(text)
    (found,) = manifests.of_kind(objects, "StatefulSet")
    pods = [nats_chart.normal(spec) for spec in (found["spec"]["template"]["spec"], nats_chart.pod())]
    if pods[0] != pods[1]:
        raise Failure(
            f"the chart renders other pods:\n{json.dumps(pods[0], indent=1)}\n{json.dumps(pods[1], indent=1)}"
        )
    (config,) = manifests.of_kind(objects, "ConfigMap")
    lines = [
        sorted(line.strip(" ,") for line in text.splitlines() if line)
        for text in (config["data"]["nats.conf"], nats_chart.nats_conf())
    ]
    if lines[0] != lines[1]:
        raise Failure(f"the chart renders another nats.conf:\n{config['data']['nats.conf']}")


def run(folder: Path, history_of) -> int:
    """Walks the book in a folder; returns the exit status."""
    (folder / "clone").mkdir()
    Path("/etc/hosts").write_text(broker.HOSTS)
    cluster = ControlPlane(folder)
    try:
        cluster.start()
        Walk(cluster, history_of(folder / "clone")).walk()
    except Failure as failure:
        print(f"\nFAILED: {failure}\n\nlogs: {folder}", flush=True)
        return 1
    finally:
        for process in cluster.processes.values():
            process.terminate()
    return 0
