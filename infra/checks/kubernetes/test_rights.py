"""The rights of each group: a deployer may run what RUNBOOK.md asks of one, and nobody may read Secrets."""

import re
import shlex
from functools import cache

import manifests
import project
import pytest
from manifests import named, of_kind, overlay, title

CLUSTERS = ["staging", "production"]
RUNBOOK = project.ROOT / "RUNBOOK.md"
# Behind a command that only the administrator of the cluster, its nodes or the database may run.
ADMINISTRATOR = " (administrator)"
# The kinds of the runbook's commands, in the words that kubectl accepts.
KINDS = {
    "backup": ("postgresql.cnpg.io", "backups"),
    "cluster": ("postgresql.cnpg.io", "clusters"),
    "configmap": ("", "configmaps"),
    "cronjob": ("batch", "cronjobs"),
    "deployment": ("apps", "deployments"),
    "externalsecret": ("external-secrets.io", "externalsecrets"),
    "hpa": ("autoscaling", "horizontalpodautoscalers"),
    "job": ("batch", "jobs"),
    "pod": ("", "pods"),
    "pvc": ("", "persistentvolumeclaims"),
    "scaledobject": ("keda.sh", "scaledobjects"),
    "statefulset": ("apps", "statefulsets"),
    "stream": ("jetstream.nats.io", "streams"),
}
# What kubectl asks of the API server for each of its commands; a part behind a slash is a subresource.
VERBS = {
    "annotate": ["get", "list", "patch"],
    "delete": ["get", "list", "watch", "delete"],
    "describe": ["get", "list"],
    "get": ["get", "list"],
    "patch": ["get", "patch"],
    "restart": ["get", "patch"],
    "scale": ["get", "list", "scale/get", "scale/patch"],
}
READING = {"get", "describe", "logs"}


def granted(role: str) -> list[dict]:
    return named(overlay("production"), "Role", role)["rules"]


def may(rules: list[dict], group: str, resource: str, verb: str, name: str | None = None) -> bool:
    """Returns whether a role may do something to an object, or without a name to every object of its kind."""
    return any(
        group in rule["apiGroups"]
        and {resource, "*"} & set(rule["resources"])
        and verb in rule["verbs"]
        and ("resourceNames" not in rule or name in rule["resourceNames"])
        for rule in rules
    )


@cache
def commands() -> list[tuple[str, bool]]:
    """Returns every command of the runbook, and whether it is the administrator's."""
    text = RUNBOOK.read_text()
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    lines = [line.partition("  #") for block in blocks for line in block.replace("\\\n", "").splitlines()]
    found = [(command, comment.startswith(ADMINISTRATOR)) for command, _, comment in lines]
    prose = re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
    for span in re.finditer(r"`([^`]+)`", prose):
        after = " ".join(prose[span.end() : span.end() + 40].split())
        found.append((" ".join(span[1].split()), f" {after}".startswith(ADMINISTRATOR)))
    return [(command.strip(), special) for command, special in found]


def kubectl() -> list[list[str]]:
    """Returns the words of every command of kubectl that is not the administrator's."""
    found = [shlex.split(command) for command, special in commands() if command.startswith("kubectl ") and not special]
    # `kubectl rollout restart` in a sentence has no object.
    return [words[1:] for words in found if len(words) > 3 or words[1] in READING and len(words) > 2]


def needed(words: list[str]) -> list[tuple[str, str, str, str | None]]:
    """Returns the rights that a command needs: group, resource, verb and name."""
    verb, *rest = words[1:] if words[0] == "rollout" else words
    names = [word for number, word in enumerate(rest) if not is_option(rest, number)]
    if verb == "logs":
        return [("", "pods", "get", None), ("", "pods/log", "get", None)]
    if verb == "port-forward":
        return [
            ("apps", "deployments", "get", None),
            ("", "pods", "list", None),
            ("", "pods/portforward", "create", None),
        ]
    if [verb, *names[:1]] == ["cnpg", "backup"]:
        return [(*KINDS["cluster"], "get", None), (*KINDS["backup"], "create", None)]
    kind, _, name = names[0].partition("/")
    group, resource = KINDS[re.sub(r"s$", "", kind)]
    objects = [name] if name else names[1:] or [None]
    found = []
    for one in objects:
        # nats-N stands for each of the servers.
        for target in [f"nats-{number}" for number in range(3)] if one == "nats-N" else [one]:
            for right in VERBS[verb]:
                part, _, own = right.rpartition("/")
                found.append((group, f"{resource}/{part}" if part else resource, own, target))
    return found


def is_option(words: list[str], number: int) -> bool:
    """Returns whether a word is an option, the value of one, or what is to be set."""
    without_value = {"--all", "--overwrite", "--previous", "--force"}
    before = words[number - 1] if number else ""
    value_of = before.startswith("-") and before not in without_value and "=" not in before
    return words[number].startswith("-") or value_of or "=" in words[number]


def test_a_deployer_may_run_every_command_of_the_runbook_that_names_nobody():
    rules = granted("deployer")
    refused = {
        f"kubectl {' '.join(words)}": f"{verb} {resource}.{group} {name or ''}"
        for words in kubectl()
        for group, resource, verb, name in needed(words)
        if not may(rules, group, resource, verb, name)
    }
    assert refused == {}
    assert {words[0] for words in kubectl()} >= {"annotate", "delete", "get", "logs", "patch", "port-forward", "scale"}


def test_a_reader_may_run_every_command_that_only_reads():
    rules = granted("reader")
    reading = [words for words in kubectl() if words[0] in READING]
    refused = [
        words
        for words in reading
        for group, resource, verb, name in needed(words)
        if not may(rules, group, resource, verb)
    ]
    assert len(reading) > 8 and refused == []
    (binding,) = [
        item for item in of_kind(overlay("production"), "RoleBinding") if item["metadata"]["name"] == "readers"
    ]
    assert [subject["name"] for subject in binding["subjects"]] == ["tickbell-readers", "tickbell-deployers"]


@pytest.mark.parametrize(
    "command", ["kubectl drain NODE", "kubectl exec -it POD sh", "kubectl get secret nats-passwords"]
)
def test_a_command_that_a_deployer_may_not_run_is_found(command):
    rules = granted("deployer")
    group, resource, verb = {
        "drain": ("", "nodes", "patch"),
        "exec": ("", "pods/exec", "create"),
        "get": ("", "secrets", "get"),
    }[command.split()[1]]
    assert not may(rules, group, resource, verb)


def test_what_no_group_may_do_names_the_administrator():
    # Nodes, and kinds that are not the namespace's or not ours.
    special = re.compile(
        r"^(kubectl (drain|describe (node|certificate)|get challenges|cnpg status|apply -k)|cmctl|crictl)\b"
    )
    found = [(command, marked) for command, marked in commands() if special.search(command)]
    assert len(found) >= 7
    assert [command for command, marked in found if not marked] == []


def test_the_brokers_commands_of_the_runbook_have_a_user():
    given = [shlex.split(command) for command, _ in commands() if command.startswith("nats ") and " " in command[5:]]
    given += [shlex.split(found)[0].split() for found in re.findall(r'RUN=("nats [^"]+")', RUNBOOK.read_text())]
    assert {words[1] for words in given} == {"server", "stream"}
    for words in given:
        run = " ".join(words)
        environment = {"PATH": "/usr/bin:/bin", "ENV": "staging", "DRY_RUN": "1", "RUN": run}
        objects = project.documents(project.output(project.ROOT / "infra/scripts/operate", env=environment))
        (container,) = manifests.template(of_kind(objects, "Job")[0])["spec"]["containers"]
        assert container["command"] == ["nats"] and container["args"] == words[1:], run
        assert "envFrom" not in container, "the image is not ours and gets no more than it needs"
        secret = {item["valueFrom"]["secretKeyRef"]["name"] for item in container["env"] if "valueFrom" in item}
        assert secret == {"nats-system" if words[1] == "server" else "tickbell-migrate"}, run


def test_the_system_user_is_the_one_of_the_broker():
    users = (project.ROOT / "infra/nats/users.conf").read_text()
    account = named(overlay("production"), "ExternalSecret", "nats-system")["spec"]
    assert account["target"]["template"]["data"]["NATS_USER"] == "system"
    assert re.search(r"\$SYS: \{ users: \[ \{ user: system, password: \$NATS_PASSWORD_SYSTEM \} \] \}", users)
    assert account["target"]["template"]["data"]["NATS_PASSWORD"] == "{{ .NATS_PASSWORD_SYSTEM }}"


def test_who_uses_helm_may_delete_what_a_release_no_longer_has_and_no_data():
    rules = granted("helm-deployer")
    assert all(rule["verbs"] == ["delete"] and "resourceNames" not in rule for rule in rules)
    for item in overlay("staging"):
        if item["metadata"].get("labels", {}).get("tickbell.dev/applied-by") == "administrator":
            continue
        group, resource = item["apiVersion"].rpartition("/")[0], plural(item["kind"])
        holds_data = group in ("jetstream.nats.io", "postgresql.cnpg.io", "barmancloud.cnpg.io")
        assert may(rules, group, resource, "delete") != holds_data, title(item)
    readme = (project.ROOT / "k8s/charts/tickbell/README.md").read_text()
    assert "HELM_DRIVER=configmap" in readme and "tickbell-helm-deployers" in readme


def plural(kind: str) -> str:
    """Returns the name of a kind in the API."""
    name = kind.lower()
    if name.endswith("y") and not name.endswith("ay"):
        return name[:-1] + "ies"
    return name + "s"


@pytest.mark.parametrize("name", CLUSTERS)
def test_the_deployer_may_apply_an_overlay_and_nobody_reads_secrets(name):
    objects = overlay(name)
    rules = granted("deployer")
    for role in of_kind(objects, "Role"):
        for rule in role["rules"]:
            assert "*" not in rule["verbs"] + rule["apiGroups"]
            assert rule["apiGroups"] != [""] or not {"*", "secrets", "pods/exec"} & set(rule["resources"])
    for item in objects:
        if item["metadata"].get("labels", {}).get("tickbell.dev/applied-by") == "administrator":
            continue
        group, resource = item["apiVersion"].rpartition("/")[0], plural(item["kind"])
        missing = [verb for verb in ("get", "create", "patch") if not may(rules, group, resource, verb)]
        assert missing == [], f"the deployer may not apply {title(item)}"
