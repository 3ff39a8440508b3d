"""deploy, promote and rollback against a fake cluster, with the commits of a clone."""

import os

import manifests
import project
import pytest
import yaml
from fake_cluster import IMAGE, Cluster, History

# The Deployments of production that have no colours.
UNCOLOURED = [name for name in project.services() if name != "gateway" and name not in project.DEMO_SERVICES]


@pytest.fixture(scope="session")
def history(tmp_path_factory) -> History:
    return History(tmp_path_factory.mktemp("clone"))


@pytest.fixture
def empty(tmp_path, history) -> Cluster:
    return Cluster(tmp_path, history)


@pytest.fixture(scope="session")
def running_state(tmp_path_factory, history) -> dict:
    """A cluster after its first deployment, which was promoted."""
    cluster = Cluster(tmp_path_factory.mktemp("first"), history)
    cluster.must("deploy", commit=history.old)
    cluster.must("promote")
    return cluster.read()


@pytest.fixture
def cluster(tmp_path, history, running_state) -> Cluster:
    cluster = Cluster(tmp_path, history)
    cluster.write(**running_state)
    return cluster


@pytest.fixture(scope="session")
def deployed_state(tmp_path_factory, history, running_state) -> dict:
    """The same after a second deployment, which is not promoted."""
    cluster = Cluster(tmp_path_factory.mktemp("second"), history)
    cluster.write(**running_state)
    calls = cluster.must("deploy")
    return cluster.read() | {"calls": calls}


@pytest.fixture
def deployed(tmp_path, history, deployed_state) -> Cluster:
    cluster = Cluster(tmp_path, history)
    cluster.write(**deployed_state)
    return cluster


def test_the_first_deployment_applies_everything_but_administrator_objects(running_state, history):
    objects = running_state["objects"]
    assert {"deployment/gateway-blue", "deployment/gateway-green"} <= set(objects)
    assert not [name for name in objects if name.split("/")[0] in ("namespace", "priorityclass", "role", "rolebinding")]
    tags = {container["image"] for item in objects.values() for container in pod(item)}
    assert tags == {f"{IMAGE}:{history.old}"}


def pod(item: dict) -> list[dict]:
    spec = item["spec"].get("jobTemplate", item).get("spec") if "spec" in item else {}
    return spec.get("template", {}).get("spec", {}).get("containers", [])


def test_the_kafka_bridge_runs_the_image_that_has_it(empty):
    commit = empty.history.mirroring
    empty.must("deploy", commit=commit)
    assert empty.image("deployment/kafka-bridge") == f"{commit}-kafka"
    assert {empty.image(f"deployment/{name}") for name in [*UNCOLOURED, "gateway-blue"]} == {commit}


def test_a_deployment_goes_step_by_step(deployed_state):
    calls = deployed_state["calls"]
    kinds = [{name.split("/")[0] for name in call.split()[1:]} for call in calls if call.startswith("apply")]
    assert not kinds[0] & {"deployment", "cronjob", "job", "scaledobject", "horizontalpodautoscaler"}
    assert kinds[1] == {"job"} and {"deployment", "cronjob", "scaledobject", "horizontalpodautoscaler"} <= kinds[2]
    order = [call.split()[0] for call in calls]
    assert order[:8] == ["apply", "wait", "wait", "wait", "wait", "delete", "apply", "apply"]
    waited = {call.rpartition("/")[2] for call in calls[8:]}
    assert waited >= {*UNCOLOURED, "gateway-green"} and "gateway-blue" not in waited


def test_a_deployment_does_not_touch_the_live_colour(deployed):
    assert deployed.live() == "blue"
    assert deployed.image("deployment/gateway-blue") == deployed.history.old
    assert deployed.image("deployment/gateway-green") == deployed.history.new
    assert {deployed.image(f"deployment/{name}") for name in UNCOLOURED} == {deployed.history.new}
    names = [call for call in deployed.read()["calls"] if "gateway-blue" in call and "deployment" in call]
    assert names == []


def test_a_migration_that_fails_leaves_the_services_as_they_were(cluster):
    cluster.write(broken=["migrate"])
    done, calls = cluster.run("deploy")
    assert done.returncode == 1 and "did not succeed" in done.stderr
    assert not [call for call in calls if "deployment/" in call]
    assert cluster.image("deployment/alert-engine") == cluster.history.old
    cluster.write(broken=[])
    cluster.must("deploy")
    assert cluster.image("deployment/alert-engine") == cluster.history.new


@pytest.mark.parametrize("broken", ["notifier", "gateway-green", "migrate"])
def test_a_deployment_that_failed_cannot_be_promoted_and_can_be_rolled_back(cluster, broken):
    cluster.write(broken=[broken])
    done, _ = cluster.run("deploy")
    assert done.returncode == 1 and "make rollback" in done.stderr
    cluster.write(broken=[])
    done, calls = cluster.run("promote")
    assert done.returncode == 1 and "has not ended well" in done.stderr and calls == [] and cluster.live() == "blue"
    cluster.must("rollback")
    assert runs_whole(cluster, cluster.history.old)


def test_a_first_deployment_that_failed_is_tried_again(empty):
    empty.write(broken=["notifier"])
    done, _ = empty.run("deploy", commit=empty.history.old)
    assert done.returncode == 1
    empty.write(broken=[])
    done, calls = empty.run("promote")
    assert done.returncode == 1 and calls == []
    empty.must("deploy", commit=empty.history.new)
    assert runs_whole(empty, empty.history.new) and empty.image("deployment/gateway-blue") == empty.history.new
    empty.must("promote")


def runs_whole(cluster: Cluster, commit: str) -> bool:
    """Returns whether everything but the live colour runs a commit's image with the settings and arguments of that commit."""
    idle = {"blue": "gateway-green", "green": "gateway-blue"}[cluster.live()]
    names = [f"deployment/{name}" for name in [*UNCOLOURED, idle]] + ["cronjob/price-poller"]
    newer = commit != cluster.history.old
    wrong = [name for name in names if cluster.image(name) != commit]
    wrong += [name for name in names if ("TICKBELL_NEW__SETTING" in cluster.settings(name)) != newer]
    variables = [item["name"] for item in cluster.container("cronjob/price-poller")["env"]]
    assert wrong == []
    return ("TICKBELL_NEW__SETTING" in variables) == newer


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


def test_a_rollback_switches_first_and_then_applies_the_earlier_commit(deployed):
    deployed.must("promote")
    calls = deployed.must("rollback")
    assert calls[0].startswith("patch service gateway") and deployed.live() == "blue"
    assert runs_whole(deployed, deployed.history.old)
    assert not [call for call in calls if "deployment/gateway-blue" in call], "the live colour is not touched"
    assert not [call for call in calls if "job/migrate" in call.split()], "the schema stays"
    assert deployed.must("rollback") == [], "a second one does nothing"
    done, _ = deployed.run("promote")
    assert done.returncode == 1, "a deployment that was rolled back is not promoted"


def test_a_rollback_names_what_it_leaves_behind(deployed):
    done, _ = deployed.run("rollback")
    assert done.returncode == 0 and "they stay until the administrator deletes them: NetworkPolicy/newer" in done.stderr
    assert "networkpolicy/newer" in deployed.read()["objects"]


def test_a_rollback_before_the_promotion_leaves_the_gateways_alone(deployed):
    calls = deployed.must("rollback")
    assert not [call for call in calls if call.startswith("patch")] and deployed.live() == "blue"
    assert runs_whole(deployed, deployed.history.old)


def test_a_rollback_that_failed_goes_on_and_does_not_switch_again(deployed):
    deployed.must("promote")
    deployed.write(broken=["notifier"])
    done, _ = deployed.run("rollback")
    assert done.returncode == 1 and deployed.live() == "blue"
    done, _ = deployed.run("promote")
    assert done.returncode == 1 and deployed.live() == "blue"
    deployed.write(broken=[])
    deployed.must("rollback")
    assert deployed.live() == "blue" and runs_whole(deployed, deployed.history.old)


def test_after_a_rollback_the_next_deployment_returns_to_what_runs(deployed):
    deployed.must("promote")
    deployed.must("rollback")
    deployed.must("deploy", commit=deployed.history.third)
    assert deployed.annotation("before") == deployed.history.old and deployed.live() == "blue"
    deployed.must("promote")
    deployed.must("rollback")
    assert runs_whole(deployed, deployed.history.old)


def test_a_commit_that_the_clone_does_not_have_is_refused(deployed):
    deployed.must("promote")
    state = deployed.read()
    state["objects"]["service/gateway"]["metadata"]["annotations"]["tickbell.dev/before"] = "c" * 40
    deployed.write(**state)
    for script, commit in (("deploy", "c" * 40), ("rollback", None)):
        done, calls = deployed.run(script, commit=commit)
        assert done.returncode == 1 and "does not have the commit" in done.stderr and calls == [], script
    assert deployed.live() == "green"


def test_manifests_that_are_in_no_commit_are_refused(cluster):
    file = cluster.history.folder / "k8s/base/settings.env"
    text = file.read_text()
    file.write_text(f"{text}# edited\n")
    try:
        done, calls = cluster.run("deploy", COMMIT="")
    finally:
        file.write_text(text)
    assert done.returncode == 1 and "commit them first" in done.stderr and calls == []


# --- Streams ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "change", "why"),
    [
        ("ticks", {"maxAge": "72h"}, "TICKS maxAge would shrink from 72h to 48h"),
        ("orders", {"maxAge": "0s"}, "ORDERS maxAge would shrink from 0s to 168h"),
        ("rules", {"maxBytes": 2147483648}, "RULES maxBytes would shrink from 2147483648 to 1073741824"),
        ("rules", {"maxBytes": -1}, "RULES maxBytes would shrink from -1 to 1073741824"),
        ("rules", {"maxMsgsPerSubject": 5}, "RULES maxMsgsPerSubject would shrink from 5 to 1"),
        ("trades", {"subjects": ["trades.>", "fees.>"]}, "TRADES fees.> would no longer be stored"),
        ("users", {"retention": "interest"}, "USERS retention would change from interest to limits"),
    ],
)
def test_a_deployment_that_would_lose_messages_is_refused_before_anything_changes(cluster, stream, change, why):
    state = cluster.read()
    state["objects"][f"stream/{stream}"]["spec"] |= change
    cluster.write(**state)
    done, calls = cluster.run("deploy")
    assert done.returncode == 1 and why in done.stderr and calls == []


def test_a_stream_that_is_named_may_lose_messages(cluster):
    state = cluster.read()
    state["objects"]["stream/ticks"]["spec"]["maxAge"] = "72h"
    cluster.write(**state)
    done, calls = cluster.run("deploy", MAY_LOSE="RULES")
    assert done.returncode == 1 and calls == []
    cluster.must("deploy", MAY_LOSE="RULES TICKS")


def test_a_larger_stream_is_deployed_and_a_rollback_keeps_it(deployed):
    def age() -> str:
        return deployed.read()["objects"]["stream/ticks"]["spec"]["maxAge"]

    assert age() == "48h"
    done, _ = deployed.run("rollback")
    assert done.returncode == 0 and "Stream TICKS stays as it is: maxAge would shrink from 48h to 24h" in done.stderr
    assert age() == "48h"
    assert deployed.read()["objects"]["stream/orders"]


def test_the_baseline_loses_no_messages(tmp_path):
    """Compares with the newest release, or where there is none with the commit that infra/pipelines names."""
    since = project.baseline()
    before = project.output("git", "show", f"{since}:k8s/streams/streams.yaml")
    after = (project.ROOT / "k8s/streams/streams.yaml").read_text()
    compare = """. infra/scripts/lib/streams.sh
    printf '%s' "$BEFORE" | stream_lines >"$WORK/before"
    printf '%s' "$AFTER" | stream_lines >"$WORK/after"
    stream_losses "$WORK/before" "$WORK/after"
    """
    environment = {"PATH": os.environ["PATH"], "BEFORE": before, "AFTER": after, "WORK": str(tmp_path)}
    assert project.output("bash", "-c", compare, env=environment) == ""
    assert len((tmp_path / "before").read_text().splitlines()) >= 8


def test_a_rollback_does_not_switch_to_a_colour_without_pods(deployed):
    deployed.must("promote")
    state = deployed.read()
    state["objects"]["deployment/gateway-blue"]["status"] = {}
    deployed.write(**state)
    done, calls = deployed.run("rollback")
    assert done.returncode == 1 and calls == [] and deployed.live() == "green"


def test_a_rollback_of_a_repeated_deployment_restores_the_live_version(deployed):
    deployed.must("deploy", commit=deployed.history.third)
    deployed.must("rollback")
    assert {deployed.image(f"deployment/{name}") for name in UNCOLOURED} == {deployed.history.old}


def test_a_release_that_is_repeated_leaves_what_a_rollback_returns_to(deployed):
    deployed.must("promote")
    assert deployed.must("deploy", commit=deployed.history.new) == []
    assert deployed.must("promote") == []
    deployed.must("rollback")
    assert deployed.live() == "blue" and runs_whole(deployed, deployed.history.old)


def test_a_rollback_of_a_deployment_without_changes_changes_nothing(deployed):
    deployed.must("promote")
    deployed.must("deploy", commit=deployed.history.new, AGAIN="1")
    deployed.must("promote")
    deployed.must("rollback")
    assert {deployed.image(f"deployment/{name}") for name in UNCOLOURED} == {deployed.history.new}


def test_the_next_deployment_goes_to_the_other_colour(deployed):
    deployed.must("promote")
    deployed.must("deploy", commit=deployed.history.third)
    assert deployed.live() == "green"
    assert deployed.image("deployment/gateway-green") == deployed.history.new
    assert deployed.image("deployment/gateway-blue") == deployed.history.third


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
    assert images == {f"{IMAGE}:{empty.history.new}"}
    assert "+ kubectl --namespace tickbell apply" in done.stderr
    assert project.output("git", "status", "--short", "k8s") == before


def test_a_tag_that_is_not_a_commit_is_refused(empty):
    done, calls = empty.run("deploy", COMMIT="latest")
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
