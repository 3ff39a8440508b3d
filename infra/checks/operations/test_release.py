"""deploy, promote and rollback against a fake kubectl, which simulates a small cluster and records every call."""

import json
import os
import sys
from pathlib import Path

import manifests
import project
import pytest
import yaml

OLD, NEW = "a" * 40, "b" * 40
IMAGE = "ghcr.io/tickbell/tickbell"
# The Deployments of production that have no colours.
UNCOLOURED = [name for name in project.services() if name != "gateway" and name not in project.DEMO_SERVICES]

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
    if kind == "deployments":
        found = [item for name, item in sorted(objects.items()) if name.startswith("deployment/")]
        found = [item for item in found if met(item["metadata"]["labels"])]
        if option("--output") == "name":
            done("".join("deployment.apps/" + item["metadata"]["name"] + "\\n" for item in found))
        done("".join(item["metadata"]["name"] + "=" + item["revision"] + " " for item in found))
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
    if "revision" in output:
        done(item["revision"])
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
            changed = bool(before) and before["spec"]["template"] != item["spec"]["template"]
            item["revision"] = str(int(before.get("revision", "1")) + changed)
            item["history"] = before.get("history", {{}}) | {{item["revision"]: item["spec"]["template"]}}
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
    if arguments[1] == "undo":
        item = objects[arguments[2]]
        item["spec"]["template"] = item["history"].pop(option("--to-revision"))
        item["revision"] = str(int(item["revision"]) + 1)
        item["history"][item["revision"]] = item["spec"]["template"]
elif verb == "set":
    record(" ".join(arguments[2:]))
    containers = objects[arguments[2]]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    containers[0]["image"] = arguments[3].partition("=")[2]
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


class Cluster:
    """The fake cluster, and the scripts that are run against it."""

    def __init__(self, folder: Path):
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

    def run(self, script: str, commit: str = NEW, env: str = "staging", **variables: str):
        """Runs a script of infra/scripts; returns its result, and the calls that it made."""
        self.write(calls=[])
        extra = {"ENV": env, "COMMIT": commit} | variables
        done = project.run(project.ROOT / "infra/scripts" / script, env=self.environment | extra)
        return done, self.read()["calls"]

    def must(self, script: str, **variables: str) -> list[str]:
        done, calls = self.run(script, **variables)
        assert done.returncode == 0, done.stderr
        return calls

    def read(self) -> dict:
        return json.loads(self.file.read_text())

    def image(self, name: str) -> str:
        item = self.read()["objects"][name]["spec"]
        template = item.get("jobTemplate", {"spec": item})["spec"]["template"]
        return template["spec"]["containers"][0]["image"].removeprefix(f"{IMAGE}:")

    def live(self) -> str:
        return self.read()["objects"]["service/gateway"]["spec"]["selector"]["tickbell.dev/colour"]


@pytest.fixture
def empty(tmp_path) -> Cluster:
    return Cluster(tmp_path)


@pytest.fixture(scope="session")
def running_state(tmp_path_factory) -> dict:
    """A cluster after its first deployment, which was promoted."""
    cluster = Cluster(tmp_path_factory.mktemp("first"))
    cluster.must("deploy", commit=OLD)
    cluster.must("promote")
    return cluster.read()


@pytest.fixture
def cluster(tmp_path, running_state) -> Cluster:
    cluster = Cluster(tmp_path)
    cluster.write(**running_state)
    return cluster


@pytest.fixture(scope="session")
def deployed_state(tmp_path_factory, running_state) -> dict:
    """The same after a second deployment, which is not promoted."""
    cluster = Cluster(tmp_path_factory.mktemp("second"))
    cluster.write(**running_state)
    calls = cluster.must("deploy", commit=NEW)
    return cluster.read() | {"calls": calls}


@pytest.fixture
def deployed(tmp_path, deployed_state) -> Cluster:
    cluster = Cluster(tmp_path)
    cluster.write(**deployed_state)
    return cluster


def test_the_first_deployment_applies_everything_but_administrator_objects(running_state):
    objects = running_state["objects"]
    assert {"deployment/gateway-blue", "deployment/gateway-green"} <= set(objects)
    assert not [name for name in objects if name.split("/")[0] in ("namespace", "priorityclass", "role", "rolebinding")]
    tags = {container["image"] for item in objects.values() for container in pod(item)}
    assert tags == {f"{IMAGE}:{OLD}"}


def pod(item: dict) -> list[dict]:
    spec = item["spec"].get("jobTemplate", item).get("spec") if "spec" in item else {}
    return spec.get("template", {}).get("spec", {}).get("containers", [])


def test_a_deployment_goes_step_by_step(deployed_state):
    calls = deployed_state["calls"]
    kinds = [{name.split("/")[0] for name in call.split()[1:]} for call in calls if call.startswith("apply")]
    assert not kinds[0] & {"deployment", "cronjob", "job", "scaledobject", "horizontalpodautoscaler"}
    assert kinds[1] == {"job"} and {"deployment", "cronjob", "scaledobject", "horizontalpodautoscaler"} <= kinds[2]
    order = [call.split()[0] for call in calls]
    assert order[:7] == ["apply", "wait", "wait", "wait", "wait", "delete", "apply"] and order[7] == "apply"
    waited = {call.rpartition("/")[2] for call in calls[8:]}
    assert waited >= {*UNCOLOURED, "gateway-green"} and "gateway-blue" not in waited


def test_a_deployment_does_not_touch_the_live_colour(deployed):
    assert deployed.live() == "blue"
    assert deployed.image("deployment/gateway-blue") == OLD
    assert deployed.image("deployment/gateway-green") == NEW
    assert {deployed.image(f"deployment/{name}") for name in UNCOLOURED} == {NEW}
    names = [call for call in deployed.read()["calls"] if "gateway-blue" in call and "deployment" in call]
    assert names == []


def test_a_migration_that_fails_leaves_the_services_as_they_were(cluster):
    cluster.write(broken=["migrate"])
    done, calls = cluster.run("deploy")
    assert done.returncode == 1 and "did not succeed" in done.stderr
    assert not [call for call in calls if "deployment/" in call]
    assert cluster.image("deployment/alert-engine") == OLD
    cluster.write(broken=[])
    cluster.must("deploy")
    assert cluster.image("deployment/alert-engine") == NEW


def test_a_service_that_does_not_become_ready_fails_the_deployment(cluster):
    cluster.write(broken=["notifier"])
    done, _ = cluster.run("deploy")
    assert done.returncode == 1 and "make rollback" in done.stderr
    cluster.write(broken=[])
    cluster.must("rollback")
    assert cluster.image("deployment/notifier") == OLD


def test_a_promotion_tests_the_idle_colour_and_then_switches(deployed):
    calls = deployed.must("promote")
    assert calls == [
        "rollout status deployment/gateway-green".removeprefix("rollout "),
        "port-forward service/gateway-green",
        'patch service gateway {"spec":{"selector":{"tickbell.dev/colour":"green"}}}',
        "port-forward service/gateway",
    ]
    assert deployed.live() == "green"
    assert deployed.must("promote") == []


def test_a_promotion_first_scales_the_idle_colour_like_the_live_one(deployed):
    state = deployed.read()
    state["objects"]["deployment/gateway-blue"]["spec"]["replicas"] = 8
    deployed.write(**state)
    calls = deployed.must("promote")
    assert calls[0] == 'patch deployment gateway-green {"spec":{"replicas":8}}'


@pytest.mark.parametrize("broken", [{"smoke": [1]}, {"broken": ["gateway-green"]}])
def test_a_colour_that_fails_the_smoke_test_is_not_promoted(deployed, broken):
    deployed.write(**broken)
    done, calls = deployed.run("promote")
    assert done.returncode == 1 and "blue stays live" in done.stderr
    assert not [call for call in calls if call.startswith("patch service")]
    assert deployed.live() == "blue"


def test_a_switch_that_fails_the_smoke_test_is_reverted(deployed):
    deployed.write(smoke=[0, 1])
    done, _ = deployed.run("promote")
    assert done.returncode == 1 and deployed.live() == "blue"
    assert deployed.must("promote") and deployed.live() == "green"


def test_only_the_last_deployment_is_promoted(deployed):
    state = deployed.read()
    state["objects"]["service/gateway"]["metadata"]["annotations"]["tickbell.dev/commit"] = "c" * 40
    deployed.write(**state)
    done, calls = deployed.run("promote")
    assert done.returncode == 1 and calls == []


def test_a_rollback_switches_first_and_then_undoes_the_rest(deployed):
    deployed.must("promote")
    calls = deployed.must("rollback")
    assert calls[0].startswith("patch service gateway") and deployed.live() == "blue"
    everything = [f"deployment/{name}" for name in [*UNCOLOURED, "gateway-blue"]] + ["cronjob/price-poller"]
    assert {deployed.image(name) for name in everything} == {OLD}
    assert deployed.must("rollback") == [], "a second one does nothing"
    done, _ = deployed.run("promote")
    assert done.returncode == 1, "a deployment that was rolled back is not promoted"


def test_a_rollback_before_the_promotion_leaves_the_gateways_alone(deployed):
    calls = deployed.must("rollback")
    assert not [call for call in calls if call.startswith("patch")] and deployed.live() == "blue"
    assert {deployed.image(f"deployment/{name}") for name in UNCOLOURED} == {OLD}


def test_a_rollback_does_not_switch_to_a_colour_without_pods(deployed):
    deployed.must("promote")
    state = deployed.read()
    state["objects"]["deployment/gateway-blue"]["status"] = {}
    deployed.write(**state)
    done, calls = deployed.run("rollback")
    assert done.returncode == 1 and calls == [] and deployed.live() == "green"


def test_a_rollback_of_a_repeated_deployment_restores_the_live_version(deployed):
    deployed.must("deploy", commit="c" * 40)
    deployed.must("rollback")
    assert {deployed.image(f"deployment/{name}") for name in UNCOLOURED} == {OLD}


def test_a_rollback_of_a_deployment_without_changes_changes_nothing(deployed):
    deployed.must("promote")
    deployed.must("deploy", commit=NEW)
    deployed.must("promote")
    deployed.must("rollback")
    assert {deployed.image(f"deployment/{name}") for name in UNCOLOURED} == {NEW}


def test_the_next_deployment_goes_to_the_other_colour(deployed):
    deployed.must("promote")
    deployed.must("deploy", commit="c" * 40)
    assert deployed.live() == "green"
    assert deployed.image("deployment/gateway-green") == NEW
    assert deployed.image("deployment/gateway-blue") == "c" * 40


@pytest.mark.parametrize("script", ["deploy", "promote", "rollback"])
def test_a_cluster_of_another_environment_is_refused(deployed, script):
    done, calls = deployed.run(script, env="production")
    assert done.returncode == 1 and "This cluster is staging" in done.stderr and calls == []
    done, calls = deployed.run(script, env="elsewhere")
    assert done.returncode == 1 and "ENV=staging" in done.stderr and calls == []


@pytest.mark.parametrize("script", ["promote", "rollback"])
def test_before_the_first_deployment_there_is_nothing_to_do(empty, script):
    done, calls = empty.run(script)
    assert done.returncode == 1 and calls == []


def test_a_dry_run_makes_no_calls(empty):
    before = project.output("git", "status", "--short", "k8s")
    done, calls = empty.run("deploy", DRY_RUN="1")
    assert done.returncode == 0 and calls == []
    images = {container["image"] for item in yaml.safe_load_all(done.stdout) for container in pod(item)}
    assert images == {f"{IMAGE}:{NEW}"}
    assert "+ kubectl --namespace tickbell apply" in done.stderr
    assert project.output("git", "status", "--short", "k8s") == before


def test_a_tag_that_is_not_a_commit_is_refused(empty):
    done, calls = empty.run("deploy", commit="latest")
    assert done.returncode == 1 and calls == []


def test_smoke_runs_the_programs_smoke_test(tmp_path):
    program = tmp_path / "tickbell"
    program.write_text('#!/bin/sh\necho "$@"\n')
    program.chmod(0o755)
    smoke = project.ROOT / "infra/scripts/smoke"
    environment = {"PATH": os.environ["PATH"], "TICKBELL": str(program), "URL": "https://api.example"}
    assert project.output(smoke, env=environment) == "smoke https://api.example\n"
    with_rule = project.output(smoke, env=environment | {"SUBSCRIBE": "ada@example.com"})
    assert with_rule == "smoke https://api.example --subscribe ada@example.com\n"
    assert project.run(smoke, env=environment | {"URL": ""}).returncode == 64


def test_an_operators_command_runs_as_a_job_that_can_be_removed(tmp_path):
    environment = {"PATH": os.environ["PATH"], "ENV": "staging", "DRY_RUN": "1", "RUN": "dlq list --json"}
    objects = project.documents(project.output(project.ROOT / "infra/scripts/operate", env=environment))
    manifests.validate(objects, tmp_path)
    (job,) = manifests.of_kind(objects, "Job")
    (container,) = pod(job)
    assert container["args"] == ["dlq", "list", "--json"]
    assert project.check_settings(container["args"], {}) is None
    rules = [rule for role in manifests.of_kind(manifests.overlay("staging"), "Role") for rule in role["rules"]]
    removable = {name for rule in rules if "delete" in rule["verbs"] for name in rule.get("resourceNames", [])}
    assert {item["metadata"]["name"] for item in objects} <= removable
