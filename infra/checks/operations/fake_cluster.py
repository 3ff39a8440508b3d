"""A fake kubectl that simulates a small cluster and records every call, and a clone whose commits are deployed to it."""

import json
import os
import shutil
import sys
from pathlib import Path

import project
import yaml

IMAGE = "ghcr.io/tickbell/tickbell"
# An object that only the later commits have.
NEW_POLICY = """---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: newer
spec:
  podSelector:
    matchLabels:
      app.kubernetes.io/name: newer
  policyTypes: [Ingress]
"""
# What the second commit adds to the poller.
NEW_VARIABLE = """                - name: TICKBELL_NEW__SETTING
                  value: "2"
              envFrom:
"""
TELEMETRY = "  - ../components/telemetry\n"
KAFKA = "  - ../components/kafka\n  - ../components/kafka/external-secrets\n"

# The fake cluster is a JSON file: {objects: {"kind/name": object}, broken: [...], smoke: [statuses], calls: [...]}.
KUBECTL = f"""#!{sys.executable} -IS
import json, os, re, signal, sys

path = os.environ["CLUSTER"]
cluster = json.load(open(path))
objects = cluster["objects"]
arguments = sys.argv[1:]
assert arguments[:2] == ["--namespace", "tickbell"], arguments
arguments = arguments[2:]


def option(name):
    return arguments[arguments.index(name) + 1] if name in arguments else None


def done(text="", status=0):
    json.dump(cluster, open(path, "w"))
    print(text, end="")
    sys.exit(status)


def met(labels):
    for term in (option("--selector") or "").split(","):
        key, equals, value = re.fullmatch(r"(.*?)(!=|=)(.*)", term).groups()
        if (labels.get(key) == value) != (equals == "="):
            return False
    return True


def dig(item, keys):
    for key in keys:
        item = (item or {{}}).get(key)
    return "" if item is None else str(item)


def image(item):
    spec = item["spec"]
    return (spec.get("jobTemplate") or item)["spec"]["template"]["spec"]["containers"][0]["image"]


def record(text):
    cluster["calls"].append(text)


verb = arguments[0]
if verb == "get":
    kind = arguments[1]
    if kind.startswith("streams."):
        for name, item in sorted(objects.items()):
            if name.startswith("stream/"):
                spec = item["spec"]
                keys = ("name", "maxAge", "maxBytes", "maxMsgs", "maxMsgsPerSubject", "retention")
                print("|".join(str(spec.get(key, "")) for key in keys) + "|" + " ".join(spec["subjects"]))
        done()
    if kind == "deployments":
        found = [item for name, item in sorted(objects.items()) if name.startswith("deployment/")]
        found = [item for item in found if met(item["metadata"]["labels"])]
        if option("--output") == "name":
            done("".join("deployment.apps/" + item["metadata"]["name"] + "\\n" for item in found))
        done("unknown output", 1)
    name = kind if "/" in kind else kind + "/" + arguments[2]
    item = objects.get(name)
    if item is None:
        done("", 0 if "--ignore-not-found" in arguments else 1)
    output = option("--output")
    if output == "name":
        done(name)
    if "containers" in output:
        done(image(item))
    if kind == "job":
        done("Failed" if "migrate" in cluster["broken"] else "SuccessCriteriaMet Complete")
    inner = re.fullmatch(r"jsonpath={{\\.(.*)}}", output)[1]
    done(dig(item, [key.replace("\\0", ".") for key in inner.replace("\\\\.", "\\0").split(".")]))
if verb == "apply":
    sys.path.append("{Path(yaml.__file__).parents[1]}")
    import yaml
    applied = []
    for item in yaml.load_all(sys.stdin, yaml.CSafeLoader):
        labels = item["metadata"].get("labels", {{}})
        if not met(labels):
            continue
        name = item["kind"].lower() + "/" + item["metadata"]["name"]
        before = objects.get(name, {{}})
        applied.append(name)
        annotations = before.get("metadata", {{}}).get("annotations", {{}})
        item["metadata"]["annotations"] = annotations | item["metadata"].get("annotations", {{}})
        if item["kind"] == "Deployment":
            item["spec"].setdefault("replicas", before.get("spec", {{}}).get("replicas", 3))
            item["status"] = {{"readyReplicas": item["spec"]["replicas"]}}
        objects[name] = item
    record("apply " + " ".join(sorted(applied)))
elif verb == "annotate":
    annotations = objects["service/gateway"]["metadata"].setdefault("annotations", {{}})
    annotations.update(pair.split("=", 1) for pair in arguments[4:])
elif verb == "patch":
    record(" ".join(arguments[:3]) + " " + option("--patch"))
    patch, item = json.loads(option("--patch"))["spec"], objects[arguments[1] + "/" + arguments[2]]["spec"]
    item.setdefault("selector", {{}}).update(patch.pop("selector", {{}}))
    item.update(patch)
elif verb == "rollout":
    record(" ".join(arguments[1:3]))
    if arguments[1] == "status" and arguments[2].rpartition("/")[2] in cluster["broken"]:
        done("not ready", 1)
elif verb == "delete":
    record(" ".join(arguments[:3]))
    objects.pop("job/migrate", None)
elif verb == "wait":
    record(" ".join(arguments[:2]))
elif verb == "port-forward":
    record(" ".join(arguments[:2]))
    if arguments[1].rpartition("/")[2] in cluster["broken"]:
        done("error: no pod", 1)
    json.dump(cluster, open(path, "w"))
    print("Forwarding from 127.0.0.1:4711 -> 8080", flush=True)
    signal.pause()
elif verb == "logs":
    record("logs")
done()
"""

# Exits with the statuses of the cluster's list, one per call; then with 0.
TICKBELL = f"""#!{sys.executable} -IS
import json, os, sys
assert sys.argv[1:] == ["smoke", "http://127.0.0.1:4711"], sys.argv
cluster = json.load(open(os.environ["CLUSTER"]))
status = cluster["smoke"].pop(0) if cluster["smoke"] else 0
json.dump(cluster, open(os.environ["CLUSTER"], "w"))
sys.exit(status)
"""


class History:
    """A clone with four commits of the project's manifests and scripts."""

    def __init__(self, folder: Path):
        self.folder = folder
        for path in ("k8s", "infra/scripts"):
            shutil.copytree(project.ROOT / path, folder / path, symlinks=True)
        # The rules are most of the manifests, and no script looks at them.
        rules = folder / "k8s/overlays/components/monitoring/rules.yaml"
        rules.write_text(rules.read_text().split("\n---\n")[0].partition("  groups:")[0] + "  groups: []\n")
        (folder / ".tools").symlink_to(project.ROOT / ".tools")
        (folder / ".gitignore").write_text(".tools\n")
        self.git("init", "--quiet", "--initial-branch", "main")
        self.old = self.commit({})
        # The next release has a setting that the earlier program does not know, and passes it to the poller too.
        self.new = self.commit(
            {
                "k8s/base/settings.env": lambda text: f"{text}TICKBELL_NEW__SETTING=1\n",
                "k8s/base/price-poller.yaml": lambda text: text.replace("              envFrom:\n", NEW_VARIABLE, 1),
                "k8s/base/network.yaml": lambda text: text + NEW_POLICY,
                "k8s/streams/streams.yaml": lambda text: text.replace("maxAge: 24h", "maxAge: 48h"),
            }
        )
        self.third = self.commit({})
        # An environment that mirrors to Kafka, which no other commit does.
        self.mirroring = self.commit(
            {"k8s/overlays/staging/kustomization.yaml": lambda text: text.replace(TELEMETRY, TELEMETRY + KAFKA, 1)}
        )

    def commit(self, changes: dict) -> str:
        for path, change in changes.items():
            file = self.folder / path
            before = file.read_text()
            file.write_text(change(before))
            assert file.read_text() != before, path
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "a release")
        return self.git("rev-parse", "HEAD").strip()

    def git(self, *arguments: str) -> str:
        who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "commit.gpgsign=false")
        return project.output("git", "-C", self.folder, *who, *arguments)


class Cluster:
    """The fake cluster, and the scripts that are run against it."""

    def __init__(self, folder: Path, history: History):
        self.history = history
        self.file = folder / "cluster.json"
        self.write(objects={}, broken=[], smoke=[], calls=[])
        for name, text in (("kubectl", KUBECTL), ("tickbell", TICKBELL)):
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        self.environment = {
            "PATH": f"{folder}:{os.environ['PATH']}",
            "CLUSTER": str(self.file),
            "TICKBELL": str(folder / "tickbell"),
            "POLL_SECONDS": "0",
        }

    def write(self, **changes):
        state = json.loads(self.file.read_text()) if self.file.exists() else {}
        self.file.write_text(json.dumps(state | changes))

    def run(self, script: str, commit: str | None = None, env: str = "staging", **variables: str):
        """Runs a script of infra/scripts; returns its result, and the calls that it made."""
        self.write(calls=[])
        extra = {"ENV": env, "COMMIT": commit or self.history.new} | variables
        done = project.run(self.history.folder / "infra/scripts" / script, env=self.environment | extra)
        return done, self.read()["calls"]

    def must(self, script: str, **variables: str) -> list[str]:
        done, calls = self.run(script, **variables)
        assert done.returncode == 0, done.stderr
        return calls

    def read(self) -> dict:
        return json.loads(self.file.read_text())

    def container(self, name: str) -> dict:
        item = self.read()["objects"][name]["spec"]
        return item.get("jobTemplate", {"spec": item})["spec"]["template"]["spec"]["containers"][0]

    def image(self, name: str) -> str:
        return self.container(name)["image"].removeprefix(f"{IMAGE}:")

    def settings(self, name: str) -> dict:
        """Returns the settings that the pods of an object get."""
        (reference,) = [
            source["configMapRef"]["name"] for source in self.container(name)["envFrom"] if "configMapRef" in source
        ]
        return self.read()["objects"][f"configmap/{reference}"]["data"]

    def annotation(self, key: str) -> str:
        return self.read()["objects"]["service/gateway"]["metadata"]["annotations"][f"tickbell.dev/{key}"]

    def live(self) -> str:
        return self.read()["objects"]["service/gateway"]["spec"]["selector"]["tickbell.dev/colour"]
